"""The tables, as Markdown."""
import os, platform, statistics, subprocess

# Workload: what it is, and the microseconds of server CPU to reach.
ROWS = {
    "base": ("base read", 6), "eq-mail": ("equality, 1 entry", 6), "eq-uid": ("equality on `uid`", 6), "eq-miss": ("equality, no entry", 6),
    "eq-mail@1": ("equality, 1 connection x 1 outstanding", 22), "and-sn-gn": ("`(&(sn=X)(givenName=Y))`", None),
    "prefix": ("`(cn=abc*)`, limit 100", 60), "substr3": ("`(cn=*abc*)`, limit 100", 70), "substr5": ("`(cn=*abcde*)`, limit 100", 70),
    "abook3": ("address book, three letters, limit 50", 60), "abook-full": ("address book, whole surname, limit 50", 60),
    "dept-title": ("`(&(departmentNumber=X)(title=Consultant*))`, limit 100", 60),
    "dept-not": ("`(&(departmentNumber=X)(!(employeeType=Y)))`, limit 100", 60), "presence": ("`(mobile=*)`, limit 100", 60),
    "unindexed": ("a filter slapd has no index for", 1000), "org-walk": ("one organisation, pages of 500", None),
    "export": ("everything, pages of 1,000", 500), "sort": ("one organisation by `cn`, pages of 50", None), "vlv": ("50 of all people by `cn` (VLV)", None),
    "lookup": ("look-up mix", None), "clinical": ("clinical mix", 25), "bind": ("bind, again and again", 20), "cold": ("cold client: handshake, bind, search, unbind", 240),
    "modify": ("modify, durable, 8 writers", 60), "rw95": ("95 % look-ups, 5 % modify", None),
}


def number(value):
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows])


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
        return next((line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()), "?")
    except OSError:
        return "not there"


def machine(root):
    """One line of where and with what."""
    with open("/proc/cpuinfo") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    with open("/proc/meminfo") as info:
        memory = int(info.readline().split()[1]) / 2**20
    commit = version(["git", "-C", root, "rev-parse", "--short", "HEAD"])
    slapd = version(["dpkg-query", "-W", "-f", "${Version}", "slapd"])
    return (f"{os.cpu_count()} x {model}, {memory:.0f} GiB, Linux {platform.release()}; {version(['rustc', '--version'])}; nhsdir {commit}; slapd {slapd}; "
            f"load average {os.getloadavg()[0]:.1f} at the end, {__import__('time').strftime('%Y-%m-%d %H:%M', __import__('time').gmtime())} UTC.")


def median(runs, pick):
    values = [pick(run) for run in runs]
    return statistics.median(values) if values else None


def cpu(run):
    return run["server_cpu_us"]


def spread(runs):
    values = [cpu(run) for run in runs]
    return number(values[0]) if len(values) < 2 else f"{number(statistics.median(values))} ({number(min(values))} to {number(max(values))})"


def comparison(results, servers):
    """Workload by workload: CPU an operation with spread, ratio, floor, goal; then operations a second and p99."""
    head, others = ["work", "connections", "entries"], [name for name in servers if name not in ("nhsdir", "floor")]
    head += [f"{name}, us" for name in others] + ["nhsdir, us"] + (["floor, us"] if "floor" in servers else []) + [f"{name} / nhsdir" for name in others]
    head += ["to reach", "", *(f"{name}, ops/s (p99 ms)" for name in [*others, "nhsdir"])]
    rows = []
    for workload, runs in results.items():
        title, goal = ROWS.get(workload, (workload, None))
        ours = runs.get("nhsdir")
        if not ours:
            continue
        row = [f"{title} [{workload}]", f"{ours[0]['connections']}x{ours[0]['outstanding']}", f"{median(ours, lambda run: run['entries_per_operation']):.1f}"]
        row += [spread(runs[name]) if name in runs else "" for name in others] + [spread(ours)]
        row += [number(median(runs["floor"], cpu)) if "floor" in runs else ""] if "floor" in servers else []
        row += [f"{median(runs[name], cpu) / median(ours, cpu):.1f} x" if name in runs else "" for name in others]
        row += [f"<= {goal:,}" if goal else "", "" if not goal else "met" if median(ours, cpu) <= goal else f"missed, {median(ours, cpu) / goal:.1f} x"]
        rate, p99 = (lambda run: run["operations_per_second"]), (lambda run: run["latency_us"]["p99"] / 1000)
        row += [f"{number(median(runs[name], rate))} ({number(median(runs[name], p99))})" if name in runs else "" for name in [*others, "nhsdir"]]
        rows.append(row)
    return table(head, rows)


def size(kib):
    return f"{kib / 2**20:.2f} GiB" if kib >= 2**20 else f"{kib / 2**10:.0f} MiB"


def standing(servers, data):
    """Import, disk, memory and start."""
    head = ["", *(server.name for server in servers)]
    pick = [
        ("import, wall", lambda server: f"{server.imported['seconds']:.1f} s" if server.imported else ""),
        ("import, CPU", lambda server: f"{server.imported['cpu']:.1f} s" if server.imported else ""),
        ("import, highest resident memory", lambda server: size(server.imported["peak_kib"]) if server.imported else ""),
        (f"disk ({size(data.bytes / 1024)} of LDIF)", lambda server: size(server.disk)),
        ("resident after the start", lambda server: size(server.idle["VmRSS"])),
        ("resident at the end, highest", lambda server: size(server.warm["VmHWM"])),
        ("of it not backed by files, at the end", lambda server: size(server.warm["RssAnon"])),
        ("start to first answer, bind included", lambda server: f"{server.started:.2f} s"),
    ]
    return table(head, [[title, *(show(server) for server in servers)] for title, show in pick])
