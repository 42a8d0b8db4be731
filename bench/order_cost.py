#!/usr/bin/env python3
"""What one order costs a node: instructions, system calls, processor time, memory; or what browsing meets beside a hot SKU.

A closed loop sends a fixed number of requests, and nothing else: no rate is looked for, nothing is read back, nothing is audited.

    bench/order_cost.py NODE 3000 --measure instructions     callgrind; less what a node costs that is sent nothing
    bench/order_cost.py NODE 5000 --measure calls            strace -c, an order
    bench/order_cost.py NODE 40000                           processor time, from /proc/PID/stat
    bench/order_cost.py NODE 100000 --measure memory --set journal.checkpoint_interval_ms=3600000
    bench/order_cost.py NODE 6 --measure browsing            six seconds; 16 connections read a product 25 times a second each

NODE is the program, as built with --release. Under `nice -n -15` neither the node nor this waits for other work of the machine.
"""
import argparse
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BROWSERS, LOOKS_PER_S = 16, 25
BODIES = {"orders": "/v1/orders", "reservations": "/v1/reservations", "carts": "/v1/carts"}


class Node:
    """A node of its own in a temporary folder, with one SKU on sale."""

    def __init__(self, program, settings, wrapper=()):
        self.folder = tempfile.mkdtemp(prefix="order_cost")
        data = ["--data", f"{self.folder}/data", "--listen", "127.0.0.1:0", "--operator-listen", "127.0.0.1:0"]
        environment = dict(os.environ, DOORBUSTER__LOG__LEVEL="warn")
        for setting in settings:
            name, value = setting.split("=", 1)
            environment["DOORBUSTER__" + name.upper().replace(".", "__")] = value
        with open(f"{self.folder}/said", "w") as said, open(f"{self.folder}/errors", "w") as errors:
            self.process = subprocess.Popen([*wrapper, program, *data], stdout=said, stderr=errors, env=environment)
        self.port, self.key = self.started()
        self.caller = self.connect()
        product = {"title": "p", "status": "active", "option_names": ["variant"], "skus": [{
            "sku": "hot", "options": {"variant": "hot"}, "status": "active", "kind": "physical", "stock": "counted",
            "prices": [{"amount": 1000, "currency": "GBP", "was": None, "tax_included": True}]}]}
        self.must("PUT", "/v1/warehouses/main", {"name": "Main", "country": "GB"})
        self.must("PUT", "/v1/products/p", product)
        self.must("POST", "/v1/inventory/hot/receipts", {"warehouse": "main", "units": 1_000_000}, "receipt")

    def started(self):
        for _ in range(600):
            with open(f"{self.folder}/said") as said:
                text = said.read()
            key, port = re.search(r"key (sk_\S+)", text), re.search(r"public http://127.0.0.1:(\d+)", text)
            if key and port:
                return int(port[1]), key[1]
            time.sleep(0.1)
        with open(f"{self.folder}/errors") as errors:
            raise SystemExit(errors.read())

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def request(self, method, path, body=None, key=None, prefer=None):
        content = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
        lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"authorization: Bearer {self.key}"]
        lines += [f"idempotency-key: {key}"] if key else []
        lines += [f"prefer: {prefer}"] if prefer else []
        lines += ["content-type: application/json", f"content-length: {len(content)}"] if content else []
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + content

    def must(self, *request):
        self.caller.sendall(self.request(*request))
        answer = b""
        while not whole(answer):
            answer += self.caller.recv(65_536)
        if status(answer) >= 300:
            raise SystemExit(answer.decode())

    def numbered(self, what, number, prefer):
        line = [{"sku": "hot", "quantity": 1}]
        if what == "carts":
            return self.request("POST", BODIES[what], {"currency": "GBP"}, f"c-{number}", prefer)
        if what == "reservations":
            return self.request("POST", BODIES[what], {"reference": f"r-{number}", "lines": line}, None, prefer)
        name = f"Buyer {number}"
        body = {"lines": line, "buyer": {"email": f"buyer{number}@crowd.example", "name": name}, "ship_to": {
            "name": name, "line1": f"{number} High Street", "city": "Leeds", "postal_code": "LS1 1AA", "country": "GB"}}
        return self.request("POST", BODIES[what], body, f"o-{number}", prefer)

    def send(self, options, first, count):
        """`count` requests, as fast as they are answered."""
        ready, answers, following, left = selectors.DefaultSelector(), {}, first, count
        for _ in range(min(options.connections, count)):
            connection = self.connect()
            connection.sendall(self.numbered(options.what, following, options.prefer))
            ready.register(connection, selectors.EVENT_READ)
            answers[connection], following = b"", following + 1
        while left:
            for connection in [key.fileobj for key, _ in ready.select()]:
                answers[connection] += connection.recv(65_536)
                if not whole(answers[connection]):
                    continue
                if status(answers[connection]) not in (201, 202):
                    raise SystemExit(answers[connection].decode())
                left, answers[connection] = left - 1, b""
                if following < first + count:
                    connection.sendall(self.numbered(options.what, following, options.prefer))
                    following += 1
                else:
                    ready.unregister(connection)
                    connection.close()

    def processor_us(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * 1_000_000 // os.sysconf("SC_CLK_TCK")

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as text:
            return int(re.search(r"VmRSS:\s+(\d+)", text.read())[1]) * 1_024

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
        with open(f"{self.folder}/errors") as errors:
            said = errors.read()
        shutil.rmtree(self.folder, ignore_errors=True)
        return said


def whole(answer):
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    return bool(end) and len(body) >= (int(length[1]) if length else 0)


def status(answer):
    return int(answer.split(maxsplit=2)[1])


def instructions(options):
    """Instructions of a whole run, its last checkpoint included. SHA-256 is counted in software: `callgrind_annotate` says how much it is."""
    def run(count, out):
        node = Node(options.node, options.set, ("valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"))
        node.send(options, 0, count)
        return int(re.findall(r"Collected : (\d+)", node.end())[-1])
    sent, idle = run(options.count, "callgrind.sent"), run(0, "callgrind.idle")
    print(f"{(sent - idle) / options.count:.0f} instructions each; callgrind.sent, callgrind.idle")


def calls(options):
    node = Node(options.node, options.set)
    node.send(options, 0, 2_000)
    out = f"{node.folder}/calls"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(node.process.pid)], stderr=subprocess.DEVNULL)
    time.sleep(1.5)
    node.send(options, 2_000, options.count)
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    with open(out) as text:
        for line in text.read().splitlines()[2:]:
            fields = line.split()
            if len(fields) >= 5 and fields[-1] != "total" and fields[3].isdigit() and int(fields[3]) * 200 > options.count:
                print(f"{int(fields[3]) / options.count:.3f} {fields[-1]}")
    node.end()


def processor(options):
    node = Node(options.node, options.set)
    before, begun = node.processor_us(), time.monotonic()
    node.send(options, 0, options.count)
    took, rate = node.processor_us() - before, options.count / (time.monotonic() - begun)
    print(f"{took / options.count:.1f} us of processor time each, {rate:.0f}/s")
    node.end()


def memory(options):
    """Growth of resident memory, four times, each after a rest; before it, what any traffic makes a process take once."""
    node = Node(options.node, options.set)
    node.send(options, 0, 20_000)
    time.sleep(options.rest)
    before = node.resident()
    for turn in range(4):
        node.send(options, 20_000 + turn * options.count, options.count)
        time.sleep(options.rest)
        after = node.resident()
        print(f"{(after - before) / options.count:.0f} bytes each", flush=True)
        before = after
    node.end()


def browse(node, until):
    """Counted from the instant at which a look was due."""
    ready, look = selectors.DefaultSelector(), node.request("GET", "/v1/products/p")
    begun, took = time.monotonic(), []
    browsers = [[node.connect(), begun + place / (BROWSERS * LOOKS_PER_S), None, b""] for place in range(BROWSERS)]
    for browser in browsers:
        ready.register(browser[0], selectors.EVENT_READ, browser)
    while time.monotonic() < until:
        for browser in browsers:
            if browser[2] is None and browser[1] <= time.monotonic():
                browser[0].sendall(look)
                browser[2] = browser[1]
        due = min((browser[1] for browser in browsers if browser[2] is None), default=time.monotonic() + 0.01)
        for browser in [key.data for key, _ in ready.select(max(0, due - time.monotonic()))]:
            browser[3] += browser[0].recv(65_536)
            if whole(browser[3]):
                took.append(time.monotonic() - browser[2])
                browser[1:] = [browser[1] + 1 / LOOKS_PER_S, None, b""]
    took.sort()
    shown = ", ".join(f"p{share} {took[len(took) * share // 100] * 1_000:.1f} ms" for share in (50, 90, 99))
    print(f"browsing: {shown}, of {len(took)}", flush=True)


def browsing(options):
    node = Node(options.node, options.set)
    node.send(options, 0, 3_000)
    begun, sent = time.monotonic(), 3_000
    browser = os.fork()
    if browser == 0:
        browse(node, begun + options.count)
        os._exit(0)
    while time.monotonic() - begun < options.count:
        node.send(options, sent, 2_000)
        sent += 2_000
    print(f"{(sent - 3_000) / (time.monotonic() - begun):.0f} {options.what}/s beside it")
    os.waitpid(browser, 0)
    node.end()


def main():
    measures = {each.__name__: each for each in (instructions, calls, processor, memory, browsing)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("node", help="the program")
    parser.add_argument("count", type=int, help="requests; with browsing, seconds")
    parser.add_argument("--measure", choices=measures, default="processor")
    parser.add_argument("--what", choices=BODIES, default="orders")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--prefer", help="the header, for example return=minimal")
    parser.add_argument("--rest", type=float, default=13, help="seconds before memory is read")
    parser.add_argument("--set", action="append", default=[], metavar="SETTING=VALUE")
    options = parser.parse_args()
    measures[options.measure](options)


main()
