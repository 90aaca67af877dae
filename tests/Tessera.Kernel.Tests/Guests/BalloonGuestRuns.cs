using System.Runtime.InteropServices;
using Iced.Intel;
using Tessera.Guests;
using Tessera.Images;
using Tessera.Plugins.Schedulers.Bvt;
using Tessera.Sdk;
using Tessera.Sdk.Cpu.X64;
using Tessera.Sdk.Xen;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Kernel.Tests;

/// <summary>A guest that gives frames back and takes them again without end costs its own time and nobody else's.</summary>
[NonParallelizable]
internal sealed class BalloonGuestRuns
{
    private const int CodePage = 200;
    private const int RequestPage = 201;
    private const int ListPage = 202;
    private const int FirstPage = 210;
    private const int Frames = 250;
    private const int Counter = 512;

    [Test]
    public void It_gets_its_share_of_the_CPU_and_its_neighbour_the_other_half()
    {
        using TestMachine machine = TestMachine.StartInVirtualTime(new BvtScheduler(new BvtOptions()));
        Domain spin = machine.Run("spin");
        HandDomain attacker = Start(machine);
        Nanoseconds length = Nanoseconds.FromSeconds(1);
        machine.Machine.RunUntil(length);
        Assert.That(Rounds(attacker), Is.GreaterThan(100), attacker.Domain.ExitReason);
        Assert.That(machine.CpuTimeOf(spin).TotalSeconds, Is.EqualTo(length.TotalSeconds / 2).Within(0.01));
    }

    [TestCaseSource(typeof(Engines), nameof(Engines.Cases))]
    public void It_is_destroyed_in_the_middle_of_it_and_leaves_nothing(string engine)
    {
        using TestMachine machine = TestMachine.Start(engine);
        Domain neighbour = machine.Run("paging");
        long before = machine.Machine.Frames.AssignedFrames;
        for (int round = 0; round < 10; round++)
        {
            HandDomain attacker = Start(machine);
            Assert.That(machine.WaitFor(() => Rounds(attacker) > 5 || TestMachine.HasEnded(attacker.Domain), Hang.Limit), Is.True);
            Assert.That(attacker.Domain.ExitReason, Is.Empty);
            machine.Machine.Destroy(attacker.Domain);
            Assert.That(machine.Machine.Frames.AssignedFrames, Is.EqualTo(before));
        }

        ulong units = ReportPage.UnitsOf(neighbour.ReadReportPage());
        machine.WaitForUnits(neighbour, units + 100);
    }

    private static ulong Rounds(HandDomain guest) => Volatile.Read(ref MemoryMarshal.AsRef<ulong>(guest.Page(RequestPage)[Counter..]));

    /// <summary>Starts a guest that does nothing else; there is no trap table, so that any trap ends it.</summary>
    private static HandDomain Start(TestMachine machine)
    {
        HandDomain guest = new(
            machine.Machine.CreateDomain(new DomainConfiguration
            {
                Name = $"balloon-{Guid.NewGuid():N}",
                Image = KernelImage.Load(BuiltinGuests.Build("spin"), "spin"),
                MemoryBytes = 2L << 20,
            }),
            machine.Machine,
            null!);
        for (int page = FirstPage; page < FirstPage + Frames; page++)
            guest.Clear(page);
        // The numbers that come back are the next to be given back; as pseudo-physical ones any will do.
        ulong[] list = [.. Enumerable.Range(FirstPage, Frames).Select(page => (ulong)guest.Frame(page).Value)];
        MemoryMarshal.AsBytes(list.AsSpan()).CopyTo(guest.Page(ListPage));
        MemoryMarshal.AsBytes<ulong>([guest.Address(ListPage), Frames, 0, DomainIds.Self]).CopyTo(guest.Page(RequestPage));

        Assembler c = new(64);
        Label loop = c.CreateLabel(), failed = c.CreateLabel();
        c.Label(ref loop);
        foreach (MemoryOp operation in (MemoryOp[])[MemoryOp.DecreaseReservation, MemoryOp.PopulatePhysmap])
        {
            c.mov(edi, (int)operation);
            c.mov(rsi, guest.Address(RequestPage));
            c.mov(eax, (int)Hypercall.MemoryOp);
            c.syscall();
            c.cmp(rax, Frames);
            c.jne(failed);
        }

        c.mov(rbx, guest.Address(RequestPage) + Counter);
        c.inc(__qword_ptr[rbx]);
        c.jmp(loop);
        c.Label(ref failed);
        c.ud2();
        ref GuestCpuState state = ref guest.Domain.Vcpus[0].Cpu.State;
        state.Rip = guest.Address(CodePage);
        using MemoryStream stream = new();
        _ = c.Assemble(new StreamCodeWriter(stream), state.Rip);
        stream.ToArray().CopyTo(guest.Page(CodePage));
        machine.Machine.Start(guest.Domain);
        return guest;
    }
}
