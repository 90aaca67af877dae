using System.Buffers.Binary;
using System.Diagnostics;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Sdk.Conformance.Cpu;

// ICapturesCpu: x87 and vector state as a whole.
public sealed partial class CpuEngineSuite
{
    private const int StoringCode = 0x1000;
    private const int MmxStoringCode = 0x2000;
    private const int X87Place = 0x210;
    private const int MxcsrPlace = 0x200;
    private const int ControlPlace = 0x204;
    private const int MmxPlace = 0x300;
    private const ushort OddControlWord = 0xa7f;
    private const uint OddMxcsr = 0x5fa5;

    [Check("A capture of a new cpu is the initial state.")]
    private void A_capture_of_a_new_cpu_is_the_initial_state() => OnEngineThread(_ =>
    {
        using EngineGuest guest = new(Engine);
        byte[] expected = new byte[Capturing(guest).CaptureBytes];
        BinaryPrimitives.WriteUInt16LittleEndian(expected.AsSpan(XsaveArea.ControlWord), XsaveArea.InitialControlWord);
        BinaryPrimitives.WriteUInt32LittleEndian(expected.AsSpan(XsaveArea.Mxcsr), XsaveArea.InitialMxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(expected.AsSpan(XsaveArea.Mxcsr + 4), 0xffff);
        Expect.Equal(CaptureOf(guest), expected);
    });

    [Check("What guest code sets comes out of a capture.")]
    private void What_guest_code_sets_comes_out_of_a_capture() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing(out bool wide);
        byte[] expected = Filled(guest, wide, top: 0);
        guest.Assemble(code =>
        {
            for (int register = 0; register < 16; register++)
                LoadVector(code, wide, register);
            code.ldmxcsr(__dword_ptr[rbx + MxcsrPlace]);
            code.fninit();
            code.fldcw(__word_ptr[rbx + ControlPlace]);
            for (int register = 7; register >= 0; register--)
                code.fld(__tbyte_ptr[rbx + (X87Place + (register * 16))]);
            guest.Hypercall(code);
        });
        WriteImage(guest, expected, wide);
        Enter(guest, thread, 0);
        AssertSameCapture(CaptureOf(guest), expected);
    });

    [Check("What is put in is what guest code reads, whichever register is the top of the x87 stack.")]
    [Case(0)]
    [Case(3)]
    [Case(7)]
    private void What_is_put_in_is_what_guest_code_reads(int top) => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing(out bool wide);
        byte[] area = Filled(guest, wide, top);
        Capturing(guest).Restore(area);
        AssertSameCapture(CaptureOf(guest), area, "it comes out again before the guest has run");
        Enter(guest, thread, StoringCode);
        AssertImage(guest, area, wide);

        Capturing(guest).Restore(area);
        Enter(guest, thread, MmxStoringCode);
        ReadOnlySpan<byte> page = Page(guest);
        for (int register = 0; register < 8; register++)
        {
            int place = XsaveArea.X87Registers + (((register - top) & 7) * 16);
            Expect.Equal(page.Slice(MmxPlace + (register * 8), 8).ToArray(), area.AsSpan(place, 8).ToArray(), $"mm{register}");
        }
    });

    [Check("Components that are not named get their initial state, MXCSR counts always.")]
    private void Components_that_are_not_named_get_their_initial_state_and_MXCSR_counts_always() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing(out bool wide);
        byte[] area = Filled(guest, wide, top: 0);
        Capturing(guest).Restore(area);
        BinaryPrimitives.WriteUInt64LittleEndian(area.AsSpan(XsaveArea.Header), 0);
        Capturing(guest).Restore(area);
        Enter(guest, thread, StoringCode);
        ReadOnlySpan<byte> page = Page(guest);
        Expect.True(!page[..(16 * 32)].ContainsAnyExcept((byte)0), "vector registers");
        Expect.Equal(BinaryPrimitives.ReadUInt32LittleEndian(page[MxcsrPlace..]), OddMxcsr);
        Expect.Equal(BinaryPrimitives.ReadUInt16LittleEndian(page[ControlPlace..]), XsaveArea.InitialControlWord);
    });

    [Check("Every bit of MXCSR that is not reserved can be put in.")]
    private void Every_bit_of_MXCSR_that_is_not_reserved_can_be_put_in() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing(out bool wide);
        byte[] area = Filled(guest, wide, top: 0);
        for (int bit = 0; bit < 32; bit++)
        {
            if ((XsaveArea.MxcsrBits >> bit & 1) == 0)
                continue;
            uint mxcsr = XsaveArea.InitialMxcsr ^ (1u << bit);
            BinaryPrimitives.WriteUInt32LittleEndian(area.AsSpan(XsaveArea.Mxcsr), mxcsr);
            Capturing(guest).Restore(area);
            Enter(guest, thread, StoringCode);
            Expect.Equal(BinaryPrimitives.ReadUInt32LittleEndian(Page(guest)[MxcsrPlace..]), mxcsr, $"bit {bit}");
        }
    });

    [Check("FXSAVE names the bits of MXCSR that there are, FXRSTOR takes those and no others.")]
    private void FXSAVE_names_the_bits_of_MXCSR_that_FXRSTOR_takes() => TakesTheBitsOfMxcsr(code =>
    {
        code.fxrstor64(__[rbx]);
        code.stmxcsr(__dword_ptr[rbx + XsaveArea.Header]);
    });

    [Check("LDMXCSR takes the bits of MXCSR that FXSAVE names, and no others.")]
    private void LDMXCSR_takes_the_bits_of_MXCSR_that_FXSAVE_names() => TakesTheBitsOfMxcsr(code =>
    {
        code.ldmxcsr(__dword_ptr[rbx + XsaveArea.Mxcsr]);
        code.stmxcsr(__dword_ptr[rbx + XsaveArea.Header]);
    });

    [Check("Bad captures are refused and change nothing.")]
    private void Bad_captures_are_refused_and_change_nothing() => OnEngineThread(_ =>
    {
        using EngineGuest guest = Storing(out bool wide);
        byte[] good = Filled(guest, wide, top: 5);
        Capturing(guest).Restore(good);
        byte[] before = CaptureOf(guest);
        byte[] other = Filled(guest, wide, top: 2, seed: 77);
        Refuses(other[..(XsaveArea.UpperHalves - 1)], "at least 576");
        Refuses([], "at least 576");
        if (wide)
            Refuses(other[..(XsaveArea.AvxEnd - 1)], "at least 832");
        else
            Refuses(With(XsaveArea.Header, (byte)XsaveArea.Avx), "0x4");
        Refuses(With(XsaveArea.Header + 7, 0x80), "0x8000000000000000");
        Refuses(With(XsaveArea.Header + 15, 0x80), "compacted");
        Refuses(With(XsaveArea.Header + 40, 1), "header");
        Refuses(With(XsaveArea.Mxcsr + 3, 0x80), "MXCSR");
        Refuses(With(XsaveArea.Mxcsr + 2, 1), "0x10000");

        byte[] room = new byte[before.Length + 1];
        foreach (int length in new[] { 0, before.Length - 1, before.Length + 1 })
        {
            Expect.Throws<ArgumentException>(() => Capturing(guest).Capture(room.AsSpan(0, length)), $"{before.Length} bytes");
            Expect.True(!room.AsSpan().ContainsAnyExcept((byte)0));
        }

        void Refuses(byte[] area, string words)
        {
            Expect.Throws<ArgumentException>(() => Capturing(guest).Restore(area), words);
            Expect.Equal(CaptureOf(guest), before, words);
        }

        byte[] With(int at, byte bits)
        {
            byte[] changed = [.. other];
            changed[at] |= bits;
            return changed;
        }
    });

    [Check("Capturing allocates nothing.")]
    private void Capturing_allocates_nothing() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing(out bool wide);
        ICapturesCpu cpu = Capturing(guest);
        byte[] area = Filled(guest, wide, top: 1);
        byte[] longer = new byte[area.Length + 100];
        area.CopyTo(longer, 0);
        byte[] taken = new byte[cpu.CaptureBytes];
        Cycle(20);
        Expect.AllocatesNothing(() => Cycle(500));

        void Cycle(int rounds)
        {
            for (int round = 0; round < rounds; round++)
            {
                cpu.Restore(longer);
                guest.State.Rip = EngineGuest.Code + StoringCode;
                guest.State.Rbx = EngineGuest.Data;
                guest.Run(thread);
                cpu.Capture(taken);
            }
        }
    });

    /// <summary>Has each bit of MXCSR loaded: it is then there, or was refused with #GP.</summary>
    private void TakesTheBitsOfMxcsr(Action<Assembler> load) => OnEngineThread(thread =>
    {
        using EngineGuest guest = Storing(out _);
        guest.Assemble(code =>
        {
            code.fxsave64(__[rbx]);
            guest.Hypercall(code);
        });
        guest.Assemble(
            code =>
            {
                load(code);
                guest.Hypercall(code);
            },
            StoringCode);
        Enter(guest, thread, 0);
        Expect.Equal(BinaryPrimitives.ReadUInt32LittleEndian(Page(guest)[(XsaveArea.Mxcsr + 4)..]), XsaveArea.MxcsrBits);
        for (int bit = 0; bit < 32; bit++)
        {
            uint mxcsr = XsaveArea.InitialMxcsr ^ (1u << bit);
            BinaryPrimitives.WriteUInt32LittleEndian(Page(guest)[XsaveArea.Mxcsr..], mxcsr);
            (guest.State.Rip, guest.State.Rbx) = (EngineGuest.Code + StoringCode, EngineGuest.Data);
            Trap trap = guest.Run(thread);
            bool isThere = (XsaveArea.MxcsrBits >> bit & 1) != 0;
            (TrapKind, byte) expected = isThere ? (TrapKind.Hypercall, (byte)0) : (TrapKind.Exception, (byte)13);
            Expect.Equal((trap.Kind, trap.Kind == TrapKind.Exception ? trap.Vector : (byte)0), expected, $"bit {bit}: {trap.Diagnosis}");
            if (isThere)
                Expect.Equal(BinaryPrimitives.ReadUInt32LittleEndian(Page(guest)[XsaveArea.Header..]), mxcsr, $"bit {bit}");
        }
    });

    private static ICapturesCpu Capturing(EngineGuest guest)
    {
        return guest.Cpus[0] as ICapturesCpu ?? throw new NotPromisedException("The engine does not give x87 and vector state (ICapturesCpu).");
    }

    private static byte[] CaptureOf(EngineGuest guest)
    {
        byte[] area = new byte[Capturing(guest).CaptureBytes];
        // Every byte is written.
        area.AsSpan().Fill(0xee);
        Capturing(guest).Capture(area);
        return area;
    }

    /// <summary>But for the last x87 instruction, which engines may leave out, and for components behind AVX that nobody used.</summary>
    private static void AssertSameCapture(byte[] area, byte[] expected, string? message = null)
    {
        int bytes = Math.Min(area.Length, expected.Length);
        Expect.Equal(Comparable(area), Comparable(expected), message);

        byte[] Comparable(byte[] from)
        {
            byte[] comparable = from[..bytes];
            comparable.AsSpan()[XsaveArea.LastInstruction..XsaveArea.Mxcsr].Clear();
            return comparable;
        }
    }

    /// <summary>A guest with code that stores all of it: vector registers, control words and the x87 stack; and another that stores MMX registers.</summary>
    private EngineGuest Storing(out bool isWide)
    {
        EngineGuest guest = new(Engine);
        bool wide = isWide = Avx.IsSupported && Capturing(guest).CaptureBytes >= XsaveArea.AvxEnd;
        guest.Assemble(
            code =>
            {
                for (int register = 0; register < 16; register++)
                {
                    if (wide)
                        code.vmovups(__ymmword_ptr[rbx + (register * 32)], Wide(register));
                    else
                        code.movups(__xmmword_ptr[rbx + (register * 32)], Narrow(register));
                }

                code.stmxcsr(__dword_ptr[rbx + MxcsrPlace]);
                code.fnstcw(__word_ptr[rbx + ControlPlace]);
                code.fnstsw(__word_ptr[rbx + (ControlPlace + 2)]);
                for (int register = 0; register < 8; register++)
                    code.fstp(__tbyte_ptr[rbx + (X87Place + (register * 16))]);
                guest.Hypercall(code);
            },
            StoringCode);
        guest.Assemble(
            code =>
            {
                AssemblerRegisterMM[] registers = [mm0, mm1, mm2, mm3, mm4, mm5, mm6, mm7];
                for (int register = 0; register < registers.Length; register++)
                    code.movq(__qword_ptr[rbx + (MmxPlace + (register * 8))], registers[register]);
                guest.Hypercall(code);
            },
            MmxStoringCode);
        return guest;
    }

    private static void LoadVector(Assembler code, bool wide, int register)
    {
        if (wide)
            code.vmovups(Wide(register), __ymmword_ptr[rbx + (register * 32)]);
        else
            code.movups(Narrow(register), __xmmword_ptr[rbx + (register * 32)]);
    }

    private static AssemblerRegisterYMM Wide(int register) => new(Register.YMM0 + register);

    private static AssemblerRegisterXMM Narrow(int register) => new(Register.XMM0 + register);

    /// <summary>A capture in which every register has another value.</summary>
    private static byte[] Filled(EngineGuest guest, bool wide, int top, int seed = 1)
    {
        byte[] area = new byte[Capturing(guest).CaptureBytes];
        Random random = new(seed);
        random.NextBytes(area.AsSpan()[XsaveArea.XmmRegisters..(XsaveArea.XmmRegisters + 256)]);
        if (wide)
            random.NextBytes(area.AsSpan()[XsaveArea.UpperHalves..XsaveArea.AvxEnd]);
        BinaryPrimitives.WriteUInt16LittleEndian(area.AsSpan(XsaveArea.ControlWord), OddControlWord);
        BinaryPrimitives.WriteUInt16LittleEndian(area.AsSpan(XsaveArea.StatusWord), (ushort)(top << 11));
        area[XsaveArea.Tags] = 0xff;
        BinaryPrimitives.WriteUInt32LittleEndian(area.AsSpan(XsaveArea.Mxcsr), OddMxcsr);
        BinaryPrimitives.WriteUInt32LittleEndian(area.AsSpan(XsaveArea.Mxcsr + 4), 0xffff);
        for (int register = 0; register < 8; register++)
        {
            // Normal numbers, which loads and stores leave as they are.
            Span<byte> value = area.AsSpan(XsaveArea.X87Registers + (register * 16), 10);
            random.NextBytes(value);
            value[7] |= 0x80;
            value[9] = (byte)(register % 2 == 0 ? 0x3f : 0xbf);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(area.AsSpan(XsaveArea.Header), XsaveArea.X87 | XsaveArea.Sse | (wide ? XsaveArea.Avx : 0));
        return area;
    }

    private static Span<byte> Page(EngineGuest guest) => System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(EngineGuest.FirstData));

    private static void Enter(EngineGuest guest, IEngineThread thread, int offset)
    {
        guest.State.Rip = EngineGuest.Code + (ulong)offset;
        guest.State.Rbx = EngineGuest.Data;
        Trap trap = guest.Run(thread);
        Expect.Equal(trap.Kind, TrapKind.Hypercall, $"{trap.Vector} {trap.Diagnosis}");
    }

    /// <summary>Writes what is to be loaded where the storing code stores it.</summary>
    private static void WriteImage(EngineGuest guest, byte[] area, bool wide)
    {
        Span<byte> page = Page(guest);
        for (int register = 0; register < 16; register++)
        {
            area.AsSpan(XsaveArea.XmmRegisters + (register * 16), 16).CopyTo(page[(register * 32)..]);
            if (wide)
                area.AsSpan(XsaveArea.UpperHalves + (register * 16), 16).CopyTo(page[((register * 32) + 16)..]);
        }

        area.AsSpan(XsaveArea.Mxcsr, 4).CopyTo(page[MxcsrPlace..]);
        area.AsSpan(XsaveArea.ControlWord, 2).CopyTo(page[ControlPlace..]);
        for (int register = 0; register < 8; register++)
            area.AsSpan(XsaveArea.X87Registers + (register * 16), 10).CopyTo(page[(X87Place + (register * 16))..]);
    }

    private static void AssertImage(EngineGuest guest, byte[] area, bool wide)
    {
        byte[] stored = Page(guest)[..(X87Place + 128)].ToArray();
        Page(guest).Clear();
        WriteImage(guest, area, wide);
        area.AsSpan(XsaveArea.StatusWord, 2).CopyTo(Page(guest)[(ControlPlace + 2)..]);
        Expect.Equal(stored, Page(guest)[..(X87Place + 128)].ToArray());
    }
}
