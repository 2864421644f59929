"""The limits of the server: what one request may cost, and how much is done at once."""

from dataclasses import dataclass
from typing import Annotated

from landmarks.common.knobs import Knob


@dataclass(frozen=True)
class RequestLimits:
    """What is accepted. A request that exceeds a limit is refused with the status code that its field names."""

    megabytes: Annotated[float, Knob("Largest body of a request, in 10^6 bytes: 413", min=0.1)] = 16.0
    instances: Annotated[int, Knob("Most photos in a request: 413, in a form 400", min=1)] = 32
    megapixels: Annotated[float, Knob("Largest JPEG, width times height in millions: 413", min=0.01, max=80)] = 50.0
    megapixels_other: Annotated[
        float, Knob("Largest photo that is no JPEG, of which all pixels are decoded: 413", min=0.01, max=80)
    ] = 25.0
    megapixels_request: Annotated[float, Knob("Most pixels of all photos of a request together: 413", min=0.01)] = 100.0
    megapixels_at_once: Annotated[
        float, Knob("Most pixels being decoded at once, others than JPEG counted twice; the rest waits", min=0.01)
    ] = 50.0
    seconds: Annotated[
        float, Knob("Time in which a head has to arrive, and a body beyond its bytes' time: 408", min=0.1)
    ] = 10.0
    kilobytes: Annotated[float, Knob("Slowest rate a second at which a body may arrive: 408", min=0.001)] = 20.0
    megabytes_arriving: Annotated[
        float, Knob("Most bytes of bodies that arrive at once; beyond, the oldest is refused: 408", min=0.1)
    ] = 256.0
    requests: Annotated[int, Knob("Most requests being answered at once: 429", min=1)] = 64
    seconds_of_work: Annotated[
        float, Knob("Time in which a request has to be answered once it is there: 503", min=0.1)
    ] = 20.0
