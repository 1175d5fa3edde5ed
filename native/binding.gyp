{
  "variables": {
    "warnings": [
      "-Wall", "-Wextra", "-Werror", "-Wshadow", "-Wformat=2", "-Wundef", "-Wpointer-arith", "-Wwrite-strings",
      "-Wvla", "-Wcast-qual", "-Wimplicit-fallthrough", "-Wnull-dereference", "-Wdouble-promotion",
      "-Wduplicated-cond", "-Wlogical-op", "-Wmissing-declarations"
    ],
    "c_warnings": [
      "-Wstrict-prototypes", "-Wmissing-prototypes", "-Wold-style-definition", "-Wincompatible-pointer-types", "-Wint-conversion"
    ]
  },
  "targets": [
    {
      "target_name": "podwright",
      "sources": ["<!@(ls -1 addon/*.cc)"],
      "defines": ["NAPI_VERSION=9", "NODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS", "_GNU_SOURCE"],
      "cflags_cc": ["-isystem", "<!(node -p \"require('path').dirname(require.resolve('node-addon-api'))\")", "-std=c++20", "-fno-exceptions", "-O2", "-Wno-cast-function-type", "<@(warnings)"],
      "cflags_cc!": ["-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "libraries": ["-lseccomp"]
    },
    {
      "target_name": "podwright-init",
      "type": "executable",
      "sources": ["<!@(ls -1 helper/*.c)"],
      "defines": ["_GNU_SOURCE"],
      "cflags": ["<!@(bash helper/musl.sh compile)", "-std=c11", "-Os", "-fno-pie", "-fno-asynchronous-unwind-tables", "-ffunction-sections", "-fdata-sections", "<@(warnings)", "<@(c_warnings)"],
      "cflags!": ["-fPIC", "-pthread", "-O3", "-fno-omit-frame-pointer"],
      "ldflags": ["<!@(bash helper/musl.sh link)", "-static", "-no-pie", "-Wl,--gc-sections", "-Wl,--sort-section=alignment", "-Wl,-z,relro,-z,now,-z,noexecstack", "-s"],
      "ldflags!": ["-pthread", "-rdynamic"]
    },
    {
      "target_name": "podwright-unpack",
      "type": "executable",
      "sources": ["<!@(ls -1 unpack/*.c)"],
      "defines": ["_GNU_SOURCE"],
      "cflags": ["-std=c11", "-O2", "-fstack-protector-strong", "<@(warnings)", "<@(c_warnings)"],
      "libraries": ["-larchive", "-lisal", "-lcrypto", "-lseccomp"]
    }
  ]
}
