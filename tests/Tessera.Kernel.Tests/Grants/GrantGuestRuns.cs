using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests;

/// <summary>Grants mapped by guests that run: what the CPU sees is exactly what was granted, as long as it is.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
[NonParallelizable]
internal sealed class GrantGuestRuns(string engine)
{
    private const int Page = 200;
    private const int Target = 210;
    private const int Results = 220;
    private const ulong Secret = 0x5EC2_E700_1234_5678;

    [Test]
    public void A_mapped_page_is_read_and_written_and_gone_after_unmapping([Values] FastPathMode fastPaths)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        HandDomain granter = Create(machine), grantee = Create(machine);
        MemoryMarshal.Write(granter.Page(Page), Secret);
        granter.Grant(9, grantee.Id, Page);
        Run(machine, grantee, granter, GrantMapFlags.HostMap, (c, target, results) =>
        {
            c.mov(rax, __qword_ptr[target]);
            c.mov(__qword_ptr[results], rax);
            c.mov(rax, Secret + 1);
            c.mov(__qword_ptr[target + 8], rax);
            Unmap(c, results);
            c.mov(rax, __qword_ptr[target]);
            c.mov(__qword_ptr[results + 16], rax);
        });
        Assert.That(Word(grantee, Results, 0), Is.EqualTo(Secret), TestMachine.Describe(grantee.Domain));
        Assert.That(Word(granter, Page, 8), Is.EqualTo(Secret + 1));
        Assert.That(Word(grantee, Results, 8), Is.Zero, "the unmapping succeeded");
        Assert.That(Word(grantee, Results, 16), Is.Zero, "the read after it did not");
        Assert.That(grantee.Domain.State, Is.EqualTo(DomainState.Crashed));
        AssertNothingIsLeft(machine, granter, grantee);
    }

    [Test]
    public void A_read_only_mapping_is_not_written_whatever_the_guest_makes_of_its_entry([Values] FastPathMode fastPaths)
    {
        using TestMachine machine = TestMachine.Start(engine, fastPaths: fastPaths);
        HandDomain granter = Create(machine), grantee = Create(machine);
        MemoryMarshal.Write(granter.Page(Page), Secret);
        granter.Grant(9, grantee.Id, Page, GrantEntryFlags.PermitAccess | GrantEntryFlags.Readonly);
        Run(machine, grantee, granter, GrantMapFlags.HostMap | GrantMapFlags.Readonly, (c, target, results) =>
        {
            c.mov(rax, __qword_ptr[target]);
            c.mov(__qword_ptr[results], rax);
            c.xor(eax, eax);
            c.mov(__qword_ptr[target], rax);
            c.mov(__qword_ptr[results], rax);
        });
        Assert.That((Word(grantee, Results, 0), Word(granter, Page, 0)), Is.EqualTo((Secret, Secret)));
        Assert.That(grantee.Domain.State, Is.EqualTo(DomainState.Crashed));
        AssertNothingIsLeft(machine, granter, grantee);
    }

    [Test]
    public void A_page_stays_mapped_when_its_domain_is_destroyed()
    {
        using TestMachine machine = TestMachine.Start(engine);
        HandDomain granter = Create(machine), grantee = Create(machine);
        MemoryMarshal.Write(granter.Page(Page), Secret);
        granter.Grant(9, grantee.Id, Page);
        Start(machine, grantee, granter, GrantMapFlags.HostMap, (c, target, results) =>
        {
            Label loop = c.CreateLabel();
            c.Label(ref loop);
            c.mov(rax, __qword_ptr[target]);
            c.mov(__qword_ptr[results], rax);
            c.inc(__qword_ptr[results + 8]);
            c.jmp(loop);
        });
        bool Counts(ulong from) => machine.WaitFor(() => Word(grantee, Results, 8) > from || TestMachine.HasEnded(grantee.Domain), Hang.Limit);
        Assert.That(Counts(0), Is.True);
        machine.Machine.Destroy(granter.Domain);
        Assert.That(Counts(Word(grantee, Results, 8) + 1000), Is.True);
        Assert.That((grantee.Domain.State, Word(grantee, Results, 0)), Is.EqualTo((DomainState.Running, Secret)), TestMachine.Describe(grantee.Domain));
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.GreaterThan(300), "both domains' frames are there");
        machine.Machine.Destroy(grantee.Domain);
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    private static HandDomain Create(TestMachine machine) => new(
        machine.Machine.CreateDomain(new DomainConfiguration
        {
            Name = $"grants-{Guid.NewGuid():N}",
            Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin"),
            MemoryBytes = BuiltinGuests.LeastMemoryBytes,
        }),
        machine.Machine,
        null!);

    private static void AssertNothingIsLeft(TestMachine machine, HandDomain granter, HandDomain grantee)
    {
        machine.Machine.Destroy(grantee.Domain);
        Assert.That(granter.Domain.Grants.Pins, Is.Zero);
        machine.Machine.Destroy(granter.Domain);
        Assert.That(machine.Machine.Frames.AssignedFrames, Is.Zero);
    }

    private static ulong Word(HandDomain domain, int page, int offset) => Volatile.Read(ref MemoryMarshal.AsRef<ulong>(domain.Page(page)[offset..]));

    private static void Unmap(Assembler c, long results)
    {
        // The structure lies after the one for mapping, with the handle that came back there.
        c.mov(eax, __dword_ptr[results + 256 + 20]);
        c.mov(__dword_ptr[results + 320 + 16], eax);
        Call(c, GrantTableOp.UnmapGrantRef, results + 320);
        c.movzx(eax, __word_ptr[results + 320 + 20]);
        c.mov(__qword_ptr[results + 8], rax);
    }

    private static void Call(Assembler c, GrantTableOp operation, long structure)
    {
        c.mov(edi, (int)operation);
        c.mov(rsi, (ulong)structure);
        c.mov(edx, 1);
        c.mov(eax, (int)Hypercall.GrantTableOp);
        c.syscall();
    }

    private static void Run(TestMachine machine, HandDomain grantee, HandDomain granter, GrantMapFlags flags, Action<Assembler, long, long> body)
    {
        Start(machine, grantee, granter, flags, body);
        machine.WaitForEnd(grantee.Domain);
    }

    /// <summary>Maps grant 9 at the target, does the body and ends by an illegal instruction; there is no trap table, so that any trap ends the domain.</summary>
    private static void Start(TestMachine machine, HandDomain grantee, HandDomain granter, GrantMapFlags flags, Action<Assembler, long, long> body)
    {
        long target = (long)grantee.Address(Target), results = (long)grantee.Address(Results);
        MapOperation map = new() { HostAddress = (ulong)target, Flags = flags, Reference = 9, Domain = granter.Id };
        MemoryMarshal.Write(grantee.Page(Results)[256..], map);
        UnmapOperation unmap = new() { HostAddress = (ulong)target };
        MemoryMarshal.Write(grantee.Page(Results)[320..], unmap);
        Assembler c = new(64);
        Call(c, GrantTableOp.MapGrantRef, results + 256);
        body(c, target, results);
        c.ud2();
        ref GuestCpuState state = ref grantee.Domain.Vcpus[0].Cpu.State;
        state.Rip = grantee.Address(230);
        using MemoryStream stream = new();
        _ = c.Assemble(new StreamCodeWriter(stream), state.Rip);
        stream.ToArray().CopyTo(grantee.Page(230));
        machine.Machine.Start(grantee.Domain);
    }
}
