"""Runs one kernel of an AMD code object in the instruction-set emulator of tinygrad's tests. Called by amd_run.rs.

    amd_emulator.py TINYGRAD OBJECT KERNEL TARGET THREADS GRID ARGUMENT...

TINYGRAD is a checkout of github.com/tinygrad/tinygrad (a9069c1 was used; the emulator is in no package). An argument is a number, passed
as an i32, or a file, passed as the address of its bytes and written back. What clang emits here and the emulator cannot run yet is mended
below, each in a line.
"""

import ctypes
import mmap
import os
import pathlib
import struct
import sys
import types

# buffer_gl0_inv drops a cache that an emulator does not have: two s_nop in its place.
INVALIDATE = bytes.fromhex("0000ace000000000")
NOTHING = bytes.fromhex("000080bf000080bf")
EMULATOR = "test/mockgpu/amd/emu.py"
MENDED = [
    # Registers from v128 on are the upper halves of v0.. in 16-bit instructions, but only on RDNA.
    ("if bits['s0'] == 16:  # src0 >= 384", "if bits['s0'] == 16 and ctx.wave_size == 32:  # src0 >= 384"),
    ("write_hi_half = bits['d'] == 16 and", "write_hi_half = bits['d'] == 16 and ctx.wave_size == 32 and"),
    ("bits['s0'] == 16 and (vsrc1_reg >= _c(128))\n    if", "bits['s0'] == 16 and ctx.wave_size == 32 and (vsrc1_reg >= _c(128))\n    if"),
    # int8 operands of MFMA are stored as u32, and so must their values be.
    ("(byte.cast(dtypes.int32) ^ UOp.const(0x80, dtypes.int32)) - UOp.const(0x80, dtypes.int32)", "(byte ^ _c(0x80)) - _c(0x80)"),
]


def emulator(root):
    """The emulator's module, mended."""
    sys.path.insert(0, str(root))
    for name in ["test", "test.mockgpu", "test.mockgpu.amd", "test.amd"]:
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package
    text = (root / EMULATOR).read_text()
    for wrong, right in MENDED:
        assert text.count(wrong) == 1, f"{EMULATOR} is another version: {wrong}"
        text = text.replace(wrong, right)
    module = types.ModuleType("emulator")
    module.__file__ = str(root / EMULATOR)
    exec(compile(text, module.__file__, "exec"), module.__dict__)
    return module


def load(path, kernel):
    """The image in memory as its program headers lay it out, and where the kernel's descriptor lies in it."""
    elf = path.read_bytes()
    (headers, sections), (size, count) = struct.unpack_from("<QQ", elf, 0x20), struct.unpack_from("<HH", elf, 0x36)
    segments = [struct.unpack_from("<IIQQQQ", elf, headers + i * size) for i in range(count)]
    loaded = [s for s in segments if s[0] == 1]
    image = mmap.mmap(-1, max(s[3] + s[5] for s in loaded) + 65536)
    for _, _, offset, address, _, length in loaded:
        image[address : address + length] = elf[offset : offset + length].replace(INVALIDATE, NOTHING)
    size, count = struct.unpack_from("<HH", elf, 0x3A)
    tables = [struct.unpack_from("<IIQQQQI", elf, sections + i * size) for i in range(count)]
    symbols = next(t for t in tables if t[1] == 11)
    strings = tables[symbols[6]][4]
    for at in range(symbols[4], symbols[4] + symbols[5], 24):
        name, _, _, _, value = struct.unpack_from("<IBBHQ", elf, at)
        if elf[strings + name : elf.index(b"\0", strings + name)].decode() == kernel + ".kd":
            return image, value
    sys.exit(f"{path} has no kernel {kernel}")


def main():
    root, path, kernel, target, threads, grid = sys.argv[1:7]
    image, descriptor = load(pathlib.Path(path), kernel)
    lds, scratch = struct.unpack_from("<II", image, descriptor)
    (entry,) = struct.unpack_from("<q", image, descriptor + 16)
    registers, properties = struct.unpack_from("<IH", image, descriptor + 52)
    assert scratch == 0
    values, buffers = b"", []
    for argument in sys.argv[7:]:
        if os.path.exists(argument):
            content = pathlib.Path(argument).read_bytes()
            buffers.append((argument, ctypes.create_string_buffer(content, len(content) + 64), len(content)))
            values += b"\0" * (-len(values) % 8) + struct.pack("<Q", ctypes.addressof(buffers[-1][1]))
        else:
            values += struct.pack("<i", int(argument))
    # Behind the arguments: blocks and threads of the launch.
    values += b"\0" * (-len(values) % 8) + struct.pack("<IIIHHH", int(grid), 1, 1, int(threads), 1, 1) + b"\0" * 256
    values = ctypes.create_string_buffer(values, len(values))
    address = ctypes.addressof(values)
    # Scalar registers that the descriptor asks for come in this order; only the arguments' address is used.
    user = [0] * (4 * (properties & 1) + 2 * (properties >> 1 & 1) + 2 * (properties >> 2 & 1))
    user += [address & 0xFFFFFFFF, address >> 32] if properties & 8 else []
    # The loader, not the compiler, writes the size of LDS: in units of 512 bytes.
    registers = registers & ~(0x1FF << 15) | (lds + 511) // 512 << 15
    code = ctypes.addressof(ctypes.c_char.from_buffer(image)) + descriptor + entry
    family = "rdna3" if target.startswith("gfx11") else "cdna"
    run = emulator(pathlib.Path(root).resolve()).run_asm
    run(code, 0, int(grid), 1, 1, int(threads), 1, 1, address, registers, 0, family, user)
    for file, buffer, length in buffers:
        pathlib.Path(file).write_bytes(buffer.raw[:length])


main()
