using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>
/// Every way in which a processor enters ring 0, tried by a process that means it: 64-, 32- and 16-bit system calls, software interrupts,
/// far transfers to each of the engine's selectors, returns to them, their loading. The first 2 MiB are the process's own, full of code
/// that tells if it is ever run in ring 0: an entry point cut to 32 bits leads there.
/// </summary>
[TestFixture]
internal sealed class EntryPointTests : EngineFixture
{
    private const int LowTable = 40;
    private const int LowCode = 41;
    private const int Gdt = 42;
    private const byte Port = EngineArea.Port;
    private const ushort Code16 = 0x0b;
    private const ulong AfterOverflow = 0x802;

    private static readonly byte[][] SystemCalls =
    [
        [0x0f, 0x05], // syscall
        [0x0f, 0x34], // sysenter
        [0x0f, 0x35], // sysexit
        [0x0f, 0x07], // sysret
        [0x48, 0x0f, 0x07],
        [0x48, 0x0f, 0x35],
        [0x66, 0x0f, 0x05],
        [0xf3, 0x0f, 0x05],
        [0xf1], // int1
        [0xce], // into
        [0x62, 0x05, 0x00, 0x00, 0x41, 0x00], // bound
        [0x0f, 0x01, 0xc1], // vmcall
        [0x0f, 0x01, 0xd9], // vmmcall
        [0x0f, 0x01, 0xd8], // vmrun
        [0x0f, 0xaa], // rsm
        [0xf4], // hlt
        [0x0f, 0x30], // wrmsr
        [0x0f, 0x00, 0xd8], // ltr
        [0x0f, 0x00, 0xd0], // lldt
    ];

    [Test]
    public void System_calls_and_privileged_returns_end_in_ring_3([Values(64, 32, 16)] int bits) => OnEngineThread(thread =>
    {
        using EngineGuest guest = Prepare();
        foreach (byte[] instruction in SystemCalls)
            AssertRing3(guest, thread, bits, instruction);
    });

    [Test]
    public void Every_software_interrupt_ends_in_ring_3([Values(64, 32, 16)] int bits) => OnEngineThread(thread =>
    {
        using EngineGuest guest = Prepare();
        for (int vector = 0; vector < 256; vector++)
            AssertRing3(guest, thread, bits, [0xcd, (byte)vector]);
    });

    [Test]
    public void Far_transfers_to_the_engines_selectors_end_in_ring_3([Values(64, 32)] int bits) => OnEngineThread(thread =>
    {
        using EngineGuest guest = Prepare();
        for (int selector = EngineArea.Ring0Code & ~7; selector <= (EngineArea.LocalTable | 7); selector++)
        {
            (byte low, byte high) = ((byte)selector, (byte)(selector >> 8));
            // A far pointer in memory, for the forms that both modes have.
            MemoryOf(guest, EngineGuest.Data, [0x00, 0x50, 0x00, 0x00, low, high]);
            AssertRing3(guest, thread, bits, [0xff, 0x2b], "jmp far");
            AssertRing3(guest, thread, bits, [0xff, 0x1b], "call far");
            // Pushed CS and RIP; iret pops flags and stack too.
            byte[] push = [0x68, 0x2b, 0xe0, 0x00, 0x00, 0x68, 0x00, 0x00, 0x42, 0x00, 0x68, 0x02, 0x02, 0x00, 0x00, 0x68, low, high, 0x00, 0x00, 0x68, 0x00, 0x50, 0x00, 0x00];
            AssertRing3(guest, thread, bits, bits == 64 ? [.. push, 0x48, 0xcb] : [.. push, 0xcb], "retf");
            AssertRing3(guest, thread, bits, bits == 64 ? [.. push, 0x48, 0xcf] : [.. push, 0xcf], "iret");
            AssertRing3(guest, thread, bits, [0xb8, low, high, 0x00, 0x00, 0x8e, 0xd0], "mov ss");
            AssertRing3(guest, thread, bits, [0xb8, low, high, 0x00, 0x00, 0x8e, 0xd8], "mov ds");
        }
    });

    [Test]
    public void Random_bytes_as_32_bit_code_never_get_out() => OnEngineThread(thread =>
    {
        const int Seed = 20261130;
        TestContext.Out.WriteLine($"seed {Seed}");
        Random random = new(Seed);
        byte[] bytes = new byte[64];
        using EngineGuest guest = Prepare();
        for (int round = 0; round < 300; round++)
        {
            random.NextBytes(bytes);
            // System calls more often than chance has them.
            if (round % 3 == 0)
                (bytes[4], bytes[5]) = (0x0f, (byte)(round % 2 == 0 ? 0x05 : 0x34));
            AssertRing3(guest, thread, 32, bytes, milliseconds: 20);
        }
    });

    [Test]
    public void A_process_that_leaves_for_32_bit_code_by_itself_gets_no_further() => OnEngineThread(thread =>
    {
        using EngineGuest guest = Prepare();
        // jmp far [rbx] to the flat 32-bit selector, there syscall.
        MemoryOf(guest, EngineGuest.Data, [0x00, 0x10, 0x40, 0x00, EngineArea.Code32 & 0xff, EngineArea.Code32 >> 8]);
        MemoryOf(guest, EngineGuest.Code + 0x1000, [0x0f, 0x05]);
        AssertRing3(guest, thread, 64, [0xff, 0x2b]);
        Assert.That(guest.State.Is32Bit, Is.True);
        Assert.That(guest.State.Rip, Is.EqualTo(EngineGuest.Code + 0x1000).Or.EqualTo(EngineGuest.Code + 0x1002));
    });

    [Test]
    public void Doctor_tells_where_a_32_bit_syscall_ends() =>
        Assert.That(Engine.Facts.Findings.Single(finding => finding.Probe == HostProbe.CompatSyscallProbe).Finding, Is.EqualTo("raises #UD").Or.StartsWith("enters its stub"));

    private static void AssertRing3(EngineGuest guest, IEngineThread thread, int bits, byte[] code, string name = "", int milliseconds = 2000)
    {
        ref GuestCpuState state = ref guest.State;
        MemoryOf(guest, EngineGuest.Code, [.. code, 0xe6, Port]);
        state.Rip = bits == 16 ? 0 : EngineGuest.Code;
        state.Rsp = EngineGuest.StackTop - 0x100;
        state.Rflags = AfterOverflow;
        state.Rax = EngineArea.Ring0Code;
        state.Rbx = EngineGuest.Data;
        state.Rcx = EngineGuest.Code + 0x1000;
        state.Rdx = EngineArea.Ring0Code;
        state.Cs = bits switch { 64 => EngineArea.Code64, 32 => EngineArea.Code32, _ => Code16 };
        state.Ss = state.Ds = state.Es = EngineArea.Data;
        state.Fs = state.Gs = 0;
        state.Is32Bit = bits != 64;
        state.Root = guest.Frame(EngineGuest.L4);
        Trap trap = guest.Run(thread, milliseconds: milliseconds);
        for (int round = 0; round < 20 && trap is { Kind: TrapKind.Preempted, IsInterruptible: false }; round++)
            trap = guest.Run(thread, milliseconds: milliseconds);
        string what = $"{bits} bits, {name} {Convert.ToHexString(code)}: {trap.Kind} {trap.Vector} at {state.Cs:x}:{state.Rip:x}. {trap.Diagnosis}";
        // KVM may give up on an instruction, and the domain with it; what counts is that no code of the process ran in ring 0.
        Assert.That(trap.Diagnosis ?? "", Does.Not.Contain("ring 0").And.Not.Contain("engine's own"), what);
        Assert.That(state.Cs & 3, Is.EqualTo(3), what);
        Assert.That(trap.Kind, Is.Not.EqualTo(TrapKind.Fatal), what);
    }

    private EngineGuest Prepare()
    {
        EngineGuest guest = new(Engine);
        guest.Words(EngineGuest.L2)[0] = guest.Frame(LowTable).Address | EngineGuest.Rights;
        guest.Words(LowTable).Fill(guest.Frame(LowCode).Address | EngineGuest.Rights);
        Span<byte> low = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(LowCode));
        // Any entry reaches an `out` soon: from ring 0 that is fatal and names the ring.
        low.Fill(0x90);
        for (int place = 30; place + 1 < low.Length; place += 32)
            (low[place], low[place + 1]) = (0xe6, Port);
        // 16-bit code of ring 3: 64 KiB from the code pages on.
        guest.Words(Gdt)[Code16 >> 3] = 0x0000fb000000ffff | (EngineGuest.Code << 16);
        guest.Cpus[0].SetDescriptorTables(new([guest.Frame(Gdt)], 8, [], 0));
        return guest;
    }

    private static void MemoryOf(EngineGuest guest, ulong address, ReadOnlySpan<byte> bytes)
    {
        ulong entry = guest.Words(EngineGuest.L1)[EngineGuest.EntryOf(address)];
        int frame = (int)(PageTableEntry.FrameOf(entry).Value - guest.Frame(0).Value);
        bytes.CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(frame))[(int)(address & 0xfff)..]);
    }
}
