// A sale, a return and a batch, by the client that openapi-typescript makes of the description. The compiler is strict: what the description does not
// say does not compile.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [url, key] = process.argv.slice(2);
if (!url || !key) throw new Error("usage: drive.js URL KEY");
const shop = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const run = `ts-${process.pid}`;

type Answer<T> = { data?: T; error?: components["schemas"]["Problem"]; response: Response };
function good<T>(what: string, answer: Answer<T>): NonNullable<T> {
  if (answer.data === undefined || answer.data === null) throw new Error(`${what}: ${answer.response.status} ${JSON.stringify(answer.error)}`);
  return answer.data as NonNullable<T>;
}
const keyed = (step: string) => ({ "Idempotency-Key": `${run}-${step}` });
const isOrder = (one: components["schemas"]["Order"] | components["schemas"]["Minimal"]): one is components["schemas"]["Order"] => "lines" in one;
const sku = `TS-${process.pid}`;

good("warehouse", await shop.PUT("/v1/warehouses/{id}", { params: { path: { id: "lon1" } }, body: { name: "London", country: "GB" } }));
good("product", await shop.PUT("/v1/products/{id}", {
  params: { path: { id: `p-${sku}` } },
  body: { title: "Nova Low", status: "active", skus: [{ sku, prices: [{ amount: 12999, currency: "GBP", tax_included: true }] }] },
}));
good("receipt", await shop.POST("/v1/inventory/{sku}/receipts", { params: { path: { sku }, header: keyed("receipt") }, body: { warehouse: "lon1", units: 10 } }));

// A sale.
const placed = good("order", await shop.POST("/v1/orders", {
  params: { header: { ...keyed("order"), Prefer: "wait=10" } },
  body: {
    lines: [{ sku, quantity: 2 }],
    buyer: { email: "a@b.example", name: "A. Buyer" },
    ship_to: { name: "A. Buyer", line1: "1 High St", city: "Leeds", postal_code: "LS1 1AA", country: "GB" },
    payment: { method: "card", token: "tok_ok" },
  },
}));
if (!isOrder(placed)) throw new Error("the whole order was asked for");
const path = { id: placed.id };
const status: components["schemas"]["Order"]["status"] = placed.status;
if (status !== "confirmed") throw new Error(`the order is ${status}`);
if (placed.totals.total.amount !== 2 * 12999 + (placed.shipping?.price.amount ?? 0)) throw new Error(`it costs ${placed.totals.total.amount}`);

// A return.
const shipment = good("shipment", await shop.POST("/v1/orders/{id}/shipments", { params: { path, header: keyed("ship") }, body: { carrier: "Royal Mail" } }));
good("delivery", await shop.POST("/v1/shipments/{id}/deliver", { params: { path: { id: shipment.id }, header: keyed("deliver") }, body: {} }));
const returned = good("return", await shop.POST("/v1/orders/{id}/returns", {
  params: { path, header: keyed("return") },
  body: { lines: [{ line: "1", quantity: 1, reason: "Too small" }] },
}));
const back = { path: { id: returned.id } };
good("approval", await shop.POST("/v1/returns/{id}/approve", { params: { ...back, header: keyed("approve") }, body: {} }));
const received = good("reception", await shop.POST("/v1/returns/{id}/receive", {
  params: { ...back, header: keyed("receive") },
  body: { lines: [{ line: "1", quantity: 1, condition: "as_new", restock: true }] },
}));
if (received.status !== "received" && received.status !== "closed") throw new Error(`the return is ${received.status}`);

// A batch, of which the last does not fit.
const item = (number: number, quantity: number) => ({ reference: `${run}-${number}`, lines: [{ sku, quantity }] });
const batch = good("batch", await shop.POST("/v1/reservations:batch", { body: { items: [item(1, 3), item(2, 3), item(3, 100)] } }));
const statuses = batch.results.map((result) => result.status).join();
if (statuses !== "201,201,409") throw new Error(`the batch answered ${statuses}`);

// A problem is typed, too.
const refused = await shop.GET("/v1/orders/{id}", { params: { path: { id: "ord_00000000000000000000010000" } } });
if (refused.error?.code !== "not_found" || refused.error.retry !== "never") throw new Error(JSON.stringify(refused.error));
console.log("TypeScript: a sale, a return and a batch");
