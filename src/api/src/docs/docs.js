// Shows openapi.json, and sends requests to the node that served this page. It uses no library and loads nothing from other hosts.
"use strict";

const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
};

const resolve = (schema, api) => {
  let seen = 0;
  while (schema && schema.$ref && seen++ < 20) {
    schema = schema.$ref.split("/").slice(1).reduce((node, part) => node && node[part], api);
  }
  return schema || {};
};

// An example of a body: the required fields, and the first of every choice.
const example = (schema, api, depth = 0) => {
  schema = resolve(schema, api);
  if (depth > 6) return null;
  const choice = (schema.anyOf || schema.oneOf || []).find((one) => one.type !== "null");
  if (choice) return example(choice, api, depth + 1);
  if (schema.enum) return schema.enum[0];
  if (schema.const !== undefined) return schema.const;
  const type = Array.isArray(schema.type) ? schema.type.find((one) => one !== "null") : schema.type;
  if (type === "object") {
    const needed = schema.required || [];
    const names = Object.keys(schema.properties || {}).filter((name) => needed.includes(name) || depth === 0);
    return Object.fromEntries(names.map((name) => [name, example(schema.properties[name], api, depth + 1)]));
  }
  if (type === "array") return [example(schema.items || {}, api, depth + 1)];
  if (type === "integer" || type === "number") return Math.max(schema.minimum || 0, 1);
  if (type === "boolean") return true;
  if (schema.format === "currency") return "GBP";
  if (schema.format === "country") return "GB";
  if (schema.format === "date-time") return new Date().toISOString();
  return schema.format === "name" ? "example" : "";
};

const shape = (schema, api, depth = 0) => {
  schema = resolve(schema, api);
  const properties = Object.entries(schema.properties || {});
  if (!properties.length || depth > 2) return undefined;
  const rows = properties.map(([name, of]) => {
    const inner = resolve(of, api);
    const type = of.$ref ? of.$ref.split("/").pop() : [].concat(inner.type || (inner.anyOf ? "…" : "any")).join(" | ");
    const words = inner.enum ? ` ${inner.enum.join(" · ")}` : "";
    const needed = (schema.required || []).includes(name) ? " *" : "";
    return make("tr", {}, make("td", {}, make("code", {}, name + needed)), make("td", {}, type + words), make("td", {}, of.description || inner.description || ""));
  });
  return make("table", {}, ...rows);
};

// Not crypto.randomUUID: browsers have that only over TLS and on localhost.
const freshKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

const tryOut = (path, method, operation, api) => {
  const inputs = new Map();
  const fields = make("div", { class: "fields" });
  for (const parameter of operation.parameters || []) {
    const input = make("input", { placeholder: parameter.description || parameter.name });
    if (parameter.name === "Idempotency-Key") input.value = freshKey();
    else if (parameter.example !== undefined) input.value = parameter.example;
    inputs.set(parameter, input);
    fields.append(make("label", {}, parameter.name + (parameter.required ? " *" : "")), input);
  }
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const body = content && make("textarea", { spellcheck: "false" });
  if (body) body.value = JSON.stringify(content.example !== undefined ? content.example : example(content.schema, api), null, 2);
  const answer = make("div");
  const send = async () => {
    let url = path;
    const headers = {};
    const query = new URLSearchParams();
    for (const [parameter, input] of inputs) {
      if (parameter.in === "path") url = url.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value && parameter.in === "query") query.set(parameter.name, input.value);
      else if (input.value) headers[parameter.name] = input.value;
    }
    if (query.size) url += `?${query}`;
    const token = document.getElementById("token").value.trim();
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body) headers["Content-Type"] = "application/json";
    answer.replaceChildren("…");
    const began = performance.now();
    try {
      const response = await fetch(url, { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
      const text = await response.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it is */ }
      const headerText = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
      const outcome = response.ok ? "good" : "bad";
      answer.replaceChildren(
        make("p", { class: `status ${outcome}` }, `${response.status} in ${(performance.now() - began).toFixed(1)} ms`),
        make("pre", {}, headerText), make("pre", {}, shown));
    } catch (error) {
      answer.replaceChildren(make("p", { class: "status bad" }, String(error)));
    }
  };
  return make("div", {}, fields, body, make("p", {}, make("button", { type: "button", onclick: send }, "Send")), answer);
};

const route = (path, method, operation, api) => {
  const content = operation.requestBody && operation.requestBody.content["application/json"];
  const answers = Object.entries(operation.responses).map(([status, response]) =>
    make("tr", {}, make("td", {}, make("code", {}, status)), make("td", {}, response.description)));
  const inside = make("div");
  const details = make("details", { class: "route", id: operation.operationId },
    make("summary", {}, make("span", { class: "method" }, method.toUpperCase()), make("span", { class: "path" }, path), make("span", { class: "summary" }, operation.summary)),
    inside);
  details.addEventListener("toggle", () => {
    if (!details.open || inside.childElementCount) return;
    const good = Object.values(operation.responses).find((response) => response.content && response.content["application/json"]);
    inside.append(...[
      make("h4", {}, "Try it"), tryOut(path, method, operation, api),
      content && make("h4", {}, "Body"), content && shape(content.schema, api),
      good && make("h4", {}, "Answer"), good && shape(good.content["application/json"].schema, api),
      make("h4", {}, "Statuses"), make("table", {}, ...answers),
    ].filter(Boolean));
  });
  return details;
};

const show = (api) => {
  document.getElementById("about").textContent = api.info.description;
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push([path, method, operation]);
    }
  }
  const main = document.getElementById("routes");
  const contents = document.getElementById("contents");
  main.replaceChildren();
  for (const [tag, routes] of groups) {
    contents.append(make("h2", {}, tag));
    main.append(make("h2", {}, tag));
    for (const [path, method, operation] of routes) {
      contents.append(make("a", { href: `#${operation.operationId}` }, `${method.toUpperCase()} ${path}`));
      main.append(route(path, method, operation, api));
    }
  }
  const open = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (target) target.open = true;
  };
  addEventListener("hashchange", open);
  open();
};

document.getElementById("guest").addEventListener("click", async () => {
  const guest = await (await fetch("/v1/guests", { method: "POST" })).json();
  document.getElementById("token").value = guest.token;
});
fetch("/openapi.json").then((response) => response.json()).then(show);
