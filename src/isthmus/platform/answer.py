"""What a client answers to an action, as those who asked want it. Pure.

Source: agent-platform contract, section 4.5.
"""

from isthmus.contract.contract_pb2 import ActionResponse, HttpResponse, PlainTextResponse
from isthmus.core.errors import ToolRefused
from isthmus.platform.truncate import truncated


def checked(response: ActionResponse, kind: str) -> ActionResponse:
    """The answer in the form that its action's kind has. Raises ToolRefused."""
    if kind == "runHTTPRequest":
        return _http(response)
    match response.WhichOneof("response_type"):
        case "plainTextResponse":
            plain = response.plainTextResponse
            if plain.error:
                told = truncated(plain.response)
                raise ToolRefused(f"Action error: {plain.error}" + (f"\n{told}" if told else ""))
            return response
        case "httpResponse":
            http = response.httpResponse
            if http.error:
                raise ToolRefused(f"HTTP action error: {http.error}")
            text = PlainTextResponse(response=http.body)
            return ActionResponse(requestID=response.requestID, plainTextResponse=text)
        case "scheduleNotificationResponse":
            return response
        case _:
            raise ToolRefused("The client's answer holds none of the expected fields.")


def _http(response: ActionResponse) -> ActionResponse:
    """The answer under `httpResponse`; clients of old give the body alone."""
    match response.WhichOneof("response_type"):
        case "httpResponse":
            if response.httpResponse.error:
                raise ToolRefused(f"HTTP action error: {response.httpResponse.error}")
            return response
        case "plainTextResponse":
            plain = response.plainTextResponse
            if plain.error:
                raise ToolRefused(f"Action error: {plain.error}")
            http = HttpResponse(statusCode=200, body=plain.response)
            return ActionResponse(requestID=response.requestID, httpResponse=http)
        case _:
            raise ToolRefused("The client's answer holds none of the expected fields.")
