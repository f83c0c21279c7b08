# One addon, the program of the contract self-test, and test programs. The system's libbpf is linked dynamically:
# Debian's static archive is not position-independent, and a distribution's fix then reaches us without a rebuild.
{
  "variables": {
    "libbpf_version": "<!(pkg-config --atleast-version=1.1 libbpf && pkg-config --modversion libbpf || (echo 'shunt needs the headers of libbpf 1.1 or newer and pkg-config (Debian and Ubuntu: apt-get install libbpf-dev pkg-config)' >&2; exit 1))",
    "oracle_sources": [
      "tools/oracle/blocking-end.c",
      "tools/oracle/check.c",
      "tools/oracle/client.c",
      "tools/oracle/end.c",
      "tools/oracle/gate.c",
      "tools/oracle/listeners.c",
      "tools/oracle/main.c",
      "tools/oracle/options.c",
      "tools/oracle/past-tcp.c",
      "tools/oracle/polling-end.c",
      "tools/oracle/relay.c",
      "tools/oracle/report.c",
      "tools/oracle/scenario.c",
      "tools/oracle/server.c",
      "tools/oracle/sink.c",
      "tools/oracle/source.c",
      "tools/oracle/watchdog.c"
    ],
    "warnings": ["-Wall", "-Wextra", "-Wno-missing-field-initializers"]
  },
  "targets": [
    {
      "target_name": "shunt",
      "sources": [
        "src/addon.cc",
        "src/addresses.cc",
        "src/args.cc",
        "src/btf.cc",
        "src/carrier.cc",
        "src/carrier-handle.cc",
        "src/connect.cc",
        "src/environment.cc",
        "src/files.cc",
        "src/hangups.cc",
        "src/libbpf-log.cc",
        "src/link.cc",
        "src/map.cc",
        "src/map-batch.cc",
        "src/netlink.cc",
        "src/netns.cc",
        "src/object.cc",
        "src/poll.cc",
        "src/preparation.cc",
        "src/program.cc",
        "src/query.cc",
        "src/relay.cc",
        "src/ringbuf.cc",
        "src/socket.cc",
        "src/socket-pool.cc",
        "src/sockaddr.cc",
        "src/unix-fds.cc",
        "src/watcher.cc"
      ],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      "defines": [
        "NAPI_VERSION=9",
        "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS",
        "NODE_ADDON_API_DISABLE_DEPRECATED",
        # A worker that is being terminated can throw no more; without this node-addon-api aborts the process.
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "BUILDING_NODE_EXTENSION",
        "_GNU_SOURCE"
      ],
      "cflags": ["<@(warnings)", "-Wno-unused-parameter", "-fvisibility=hidden", "<!@(pkg-config --cflags libbpf)"],
      "cflags_cc!": ["-std=gnu++17"],
      "cflags_cc": ["-std=gnu++20", "-fno-exceptions"],
      # nodelete: libbpf keeps a pointer to our print function, and Node unloads an addon with its last worker.
      "ldflags": ["-Wl,-z,nodelete"],
      "libraries": ["<!@(pkg-config --libs libbpf)"]
    },
    {
      "target_name": "shunt-echo",
      "type": "executable",
      "product_extension": "",
      "sources": ["tools/shunt-echo.c"],
      "ldflags": ["-pthread"],
      "cflags": ["<@(warnings)", "-std=gnu11", "-O2"],
      "defines": ["_GNU_SOURCE"]
    },
    {
      # What the contract self-test runs (src/accelerate/contract): part of the product, as the addon is.
      "target_name": "shunt-contract",
      "type": "executable",
      "product_extension": "",
      "sources": [
        "tools/contract/blocking.c",
        "tools/contract/bounds.c",
        "tools/contract/calibrate.c",
        "tools/contract/ending.c",
        "tools/contract/entries.c",
        "tools/contract/io.c",
        "tools/contract/main.c",
        "tools/contract/maps.c",
        "tools/contract/order.c",
        "tools/contract/overlap.c",
        "tools/contract/pair.c",
        "tools/contract/path.c",
        "tools/contract/queue.c",
        "tools/contract/readiness.c",
        "tools/contract/reader.c",
        "tools/contract/special.c",
        "tools/contract/stream.c"
      ],
      "ldflags": ["-pthread"],
      "cflags": ["<@(warnings)", "-std=gnu11", "-O2", "-pthread"],
      "defines": ["_GNU_SOURCE"]
    },
    {
      "target_name": "shunt-load",
      "type": "executable",
      "product_extension": "",
      "sources": ["tools/shunt-load.c"],
      "ldflags": ["-pthread"],
      "cflags": ["<@(warnings)", "-std=gnu11", "-O2"],
      "defines": ["_GNU_SOURCE"]
    },
    {
      "target_name": "shunt-oracle",
      "type": "executable",
      "product_extension": "",
      "sources": ["<@(oracle_sources)"],
      "ldflags": ["-pthread"],
      "cflags": ["<@(warnings)", "-std=gnu11", "-O2"],
      "defines": ["_GNU_SOURCE"]
    },
    # By itself: what an executable imports tells whether it may read with splice(2).
    {
      "target_name": "shunt-oracle-splice",
      "type": "executable",
      "product_extension": "",
      "sources": ["<@(oracle_sources)"],
      "ldflags": ["-pthread"],
      "cflags": ["<@(warnings)", "-std=gnu11", "-O2"],
      "defines": ["_GNU_SOURCE", "ORACLE_SPLICE"]
    }
  ]
}
