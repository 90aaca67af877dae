using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Kernel.Memory;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests.FastPath;

/// <summary>A domain, not started yet, whose kernel is code of a test: one page of code, one of data, and what it takes to reach their entries by the alias.</summary>
internal sealed class OwnTables
{
    private readonly TestMachine _machine;
    private readonly ulong _code;

    public OwnTables(TestMachine machine)
    {
        _machine = machine;
        Domain = machine.Machine.CreateDomain(new DomainConfiguration
        {
            Name = $"own-{Guid.NewGuid():N}",
            Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin"),
            MemoryBytes = BuiltinGuests.LeastMemoryBytes,
            Weight = 256,
        });
        ref GuestCpuState state = ref Domain.Vcpus[0].Cpu.State;
        Data = (state.Rsp - 1) & ~0xFFFUL;
        _code = state.Rip & ~0xFFFUL;
        state.Rip = _code;
        state.Rsp = Data + 0x1000;
    }

    public Domain Domain { get; }

    /// <summary>Address of a page that the guest can write: its boot stack.</summary>
    public ulong Data { get; }

    public VcpuFastPath Own => (VcpuFastPath)Domain.Vcpus[0].Accelerator!;

    public FastPathMemory Fast => Own.Memory;

    /// <summary>Machine address of a page's level-1 entry.</summary>
    public ulong EntryOf(ulong address)
    {
        Assert.That(Domain.Mmu.FindEntry(0, new VirtualAddress(address), out ulong entry), Is.True);
        return entry;
    }

    /// <summary>The alias of a machine address of the domain.</summary>
    public ulong Alias(ulong machineAddress) => Fast.Alias + (machineAddress - DomainMemory.First.Address);

    public ref ulong Word(ulong machineAddress) => ref Domain.MmuHost.Table(PageTableEntry.FrameOf(machineAddress))[(int)(machineAddress & 0xFFF) / 8];

    /// <summary>Writes the kernel and lets it run.</summary>
    public void Start(Action<Assembler> write)
    {
        Assembler assembler = new(64);
        write(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), _code);
        Assert.That(Domain.Mmu.Translate(0, userMode: false, new VirtualAddress(_code), forWriting: false, out ulong place), Is.True);
        stream.ToArray().CopyTo(MemoryMarshal.AsBytes(Domain.MmuHost.Table(PageTableEntry.FrameOf(place))));
        _machine.Machine.Start(Domain);
    }

    /// <summary>Ends with its power-off.</summary>
    public static void PowerOff(Assembler code, ulong scratch)
    {
        code.mov(rsi, scratch);
        code.mov(__dword_ptr[rsi], (int)ShutdownReason.Poweroff);
        code.mov(edi, (int)SchedOp.Shutdown);
        code.mov(eax, (int)Hypercall.SchedOp);
        code.syscall();
    }

    /// <summary>One mmu_update by a hypercall; the request lies in the data page.</summary>
    public void Update(Assembler code, ulong pointer, ulong value)
    {
        code.mov(rdi, Data + 0x100);
        code.mov(rax, pointer);
        code.mov(__qword_ptr[rdi], rax);
        code.mov(rax, value);
        code.mov(__qword_ptr[rdi + 8], rax);
        code.mov(esi, 1);
        code.xor(edx, edx);
        code.mov(r10d, DomainIds.Self);
        code.mov(eax, (int)Hypercall.MmuUpdate);
        code.syscall();
    }
}
