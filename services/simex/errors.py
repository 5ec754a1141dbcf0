"""Refusals with Binance's error codes."""

from functools import partial


class ApiError(Exception):
    """A refused request: Binance's code and message, and the HTTP status it comes with."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status


unknown = partial(ApiError, -1000, "An unknown error occurred while processing the request.", 500)
bad_timestamp = partial(ApiError, -1021, "Timestamp for this request is outside of the recvWindow.")
timestamp_ahead = partial(ApiError, -1021, "Timestamp for this request was 1000ms ahead of the server's time.")
bad_signature = partial(ApiError, -1022, "Signature for this request is not valid.")
bad_interval = partial(ApiError, -1120, "Invalid interval.")
bad_symbol = partial(ApiError, -1121, "Invalid symbol.")
bad_time_in_force = partial(ApiError, -1115, "Invalid timeInForce.")
bad_order_type = partial(ApiError, -1116, "Invalid orderType.")
bad_side = partial(ApiError, -1117, "Invalid side.")
bad_combination = partial(ApiError, -1128, "Combination of optional parameters invalid.")
bad_recv_window = partial(ApiError, -1131, "recvWindow must be less than 60000.")
market_closed = partial(ApiError, -1013, "Market is closed.")
insufficient_balance = partial(ApiError, -2010, "Account has insufficient balance for requested action.")
duplicate_order = partial(ApiError, -2010, "Duplicate order sent.")
would_take = partial(ApiError, -2010, "Order would immediately match and take.")
no_order_named = partial(
    ApiError, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!"
)
not_on_the_book = partial(ApiError, -2011, "Unknown order sent.")
no_such_order = partial(ApiError, -2013, "Order does not exist.")
bad_key_format = partial(ApiError, -2014, "API-key format invalid.", 401)
bad_key = partial(ApiError, -2015, "Invalid API-key, IP, or permissions for action.", 401)


def mandatory(name: str) -> ApiError:
    """A parameter is missing, empty or not of its kind."""
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> ApiError:
    """A parameter has characters that it must not have; ``legal`` is the pattern it should match."""
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def not_required(name: str) -> ApiError:
    """A parameter that this kind of request must not have."""
    return ApiError(-1106, f"Parameter '{name}' sent when not required.")


def too_precise(name: str) -> ApiError:
    """An amount with more than eight decimal places."""
    return ApiError(-1111, f"Parameter '{name}' has too much precision.")


def filter_failure(name: str) -> ApiError:
    """An order that breaks one of the symbol's filters."""
    return ApiError(-1013, f"Filter failure: {name}")
