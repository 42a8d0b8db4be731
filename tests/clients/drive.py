"""A sale, a return and a batch, by the client that openapi-python-client makes of the description."""

import os
import sys

from doorbuster_client import AuthenticatedClient
from doorbuster_client.api.catalogue import put_product
from doorbuster_client.api.fulfilment import approve_return, deliver_shipment, receive_return, return_order, ship_order
from doorbuster_client.api.inventory import put_warehouse, receive
from doorbuster_client.api.orders import get_order, place_order
from doorbuster_client.api.reservations import make_reservations
from doorbuster_client.models import EmptyBody, Order, OrderBody, Problem, ProductBody, ReceiptBody, ReceiveBody
from doorbuster_client.models import ReservationBatchBody, ReturnBody, ShipmentBody, WarehouseBody

url, key = sys.argv[1:]
shop = AuthenticatedClient(base_url=url, token=key, raise_on_unexpected_status=True, timeout=30)
run = f"py-{os.getpid()}"
sku = f"PY-{os.getpid()}"


def good(what, answer):
    if answer is None or isinstance(answer, Problem):
        raise SystemExit(f"{what}: {answer}")
    return answer


good("warehouse", put_warehouse.sync("lon1", client=shop, body=WarehouseBody.from_dict({"name": "London", "country": "GB"})))
price = {"amount": 12999, "currency": "GBP", "tax_included": True}
product = {"title": "Nova Low", "status": "active", "skus": [{"sku": sku, "prices": [price]}]}
good("product", put_product.sync(f"p-{sku}", client=shop, body=ProductBody.from_dict(product)))
receipt = ReceiptBody.from_dict({"warehouse": "lon1", "units": 10})
good("receipt", receive.sync(sku, client=shop, idempotency_key=f"{run}-receipt", body=receipt))

# A sale.
body = OrderBody.from_dict({
    "lines": [{"sku": sku, "quantity": 2}],
    "buyer": {"email": "a@b.example", "name": "A. Buyer"},
    "ship_to": {"name": "A. Buyer", "line1": "1 High St", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"},
    "payment": {"method": "card", "token": "tok_ok"},
})
order = good("order", place_order.sync(client=shop, idempotency_key=f"{run}-order", prefer="wait=10", body=body))
assert isinstance(order, Order) and order.status == "confirmed", order
assert order.lines[0].quantity == 2 and order.lines[0].sku == sku, order.lines

# A return.
shipment = good("shipment", ship_order.sync(order.id, client=shop, idempotency_key=f"{run}-ship", body=ShipmentBody.from_dict({"carrier": "Royal Mail"})))
good("delivery", deliver_shipment.sync(shipment.id, client=shop, idempotency_key=f"{run}-deliver", body=EmptyBody()))
lines = {"lines": [{"line": "1", "quantity": 1, "reason": "Too small"}]}
returned = good("return", return_order.sync(order.id, client=shop, idempotency_key=f"{run}-return", body=ReturnBody.from_dict(lines)))
good("approval", approve_return.sync(returned.id, client=shop, idempotency_key=f"{run}-approve", body=EmptyBody()))
lines = {"lines": [{"line": "1", "quantity": 1, "condition": "as_new", "restock": True}]}
received = good("reception", receive_return.sync(returned.id, client=shop, idempotency_key=f"{run}-receive", body=ReceiveBody.from_dict(lines)))
assert received.status in ("received", "closed"), received

# A batch, of which the last does not fit.
items = [{"reference": f"{run}-{number}", "lines": [{"sku": sku, "quantity": quantity}]} for number, quantity in ((1, 3), (2, 3), (3, 100))]
batch = good("batch", make_reservations.sync(client=shop, body=ReservationBatchBody.from_dict({"items": items})))
assert [result.status for result in batch.results] == [201, 201, 409], batch

# A problem is typed, too.
refused = get_order.sync("ord_00000000000000000000010000", client=shop)
assert isinstance(refused, Problem) and refused.code == "not_found", refused
print("Python: a sale, a return and a batch")
