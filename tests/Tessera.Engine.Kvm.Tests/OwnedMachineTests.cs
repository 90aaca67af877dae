using Iced.Intel;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Sdk;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using static Iced.Intel.AssemblerRegisters;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>
/// Guests that own their page tables, as a kernel with fast paths may: they map the engine's frames, write to them, put tables of their own
/// where the engine's were and run in ring 0. Whatever it is, a run ends: preempted, or fatal for this machine alone.
/// </summary>
[TestFixture]
internal sealed class OwnedMachineTests : EngineFixture
{
    private const int OwnL3 = 40;
    private const int OwnL2 = 41;
    private const int OwnL1 = 42;
    private const int OwnCpuL1 = 43;
    private const int OwnStubs = 44;
    private const int MostRuns = 2000;

    [SetUp]
    public void RequireShadowPaging()
    {
        if (!Engine.Facts.InterceptsSyscalls)
            Assert.Ignore("Only where syscalls are intercepted can a guest write its own page tables.");
    }

    [Test]
    public void Code_and_tables_of_the_engine_cannot_be_written_by_any_mapping() => OnEngineThread(thread =>
    {
        int constant;
        using (EngineGuest probe = new(Engine))
            constant = ((KvmMachine)probe.Machine).Area.ConstantFrameCount;
        Assert.That(constant, Is.GreaterThan(10));
        for (int frame = 0; frame < constant; frame++)
        {
            using EngineGuest guest = Mapping(frame);
            guest.Assemble(code =>
            {
                code.mov(__qword_ptr[rbx], rax);
                guest.Hypercall(code);
            });
            guest.State.Rbx = EngineGuest.Data;
            Trap trap = guest.Run(thread);
            Assert.That((trap.Kind, trap.Diagnosis), Is.EqualTo((TrapKind.Fatal, trap.Diagnosis)), $"frame {frame}");
        }
    });

    [TestCase("ud2")]
    [TestCase("syscall")]
    [TestCase("read")]
    public void Scribbling_over_a_CPUs_own_structures_harms_only_that_machine(string then) => OnEngineThread(thread =>
    {
        for (ulong pattern = 0; pattern < 3; pattern++)
        {
            for (int frame = 0; frame < 3; frame++)
            {
                int first;
                using (EngineGuest probe = new(Engine))
                    first = ((KvmMachine)probe.Machine).Area.ConstantFrameCount;
                using EngineGuest guest = Mapping(first + frame);
                guest.Assemble(code =>
                {
                    code.mov(rdi, EngineGuest.Data);
                    code.mov(rax, pattern * 0x7f7f_7f7f_7f7f_7f7f);
                    code.mov(ecx, 512);
                    code.rep.stosq();
                    if (then == "ud2")
                        code.ud2();
                    else if (then == "syscall")
                        code.syscall();
                    else
                        code.mov(rax, __qword_ptr[0x10]);
                });
                for (int run = 0; run < 4; run++)
                {
                    Trap trap = guest.Run(thread, milliseconds: 50);
                    TestContext.Out.WriteLine($"{then} {pattern} frame {frame}: {trap.Kind} {trap.Vector} {trap.Diagnosis}");
                    if (trap.Kind == TrapKind.Fatal)
                        break;
                }
            }
        }

        StillWorks(thread);
    });

    [TestCase("spin")]
    [TestCase("cli")]
    [TestCase("hlt")]
    [TestCase("out")]
    [TestCase("in")]
    [TestCase("hypercall")]
    [TestCase("no idt")]
    [TestCase("wrmsr")]
    [TestCase("mov cr3")]
    [TestCase("vmcall")]
    [TestCase("unbacked")]
    public void Ring_0_is_no_place_to_stay(string what) => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        OwnEngineSlot(guest, code =>
        {
            Label self = code.CreateLabel();
            switch (what)
            {
                case "cli": code.cli(); break;
                case "hlt": code.hlt(); break;
                case "out": code.@out(0x80, al); break;
                case "in": code.@in(al, 0x71); break;
                case "hypercall": guest.Hypercall(code); break;
                case "no idt":
                    code.lidt(__[0x10]);
                    code.ud2();
                    break;
                case "wrmsr":
                    code.mov(ecx, unchecked((int)0xc0000080));
                    code.xor(eax, eax);
                    code.xor(edx, edx);
                    code.wrmsr();
                    break;
                case "mov cr3":
                    code.xor(eax, eax);
                    code.mov(cr3, rax);
                    break;
                case "vmcall": code.vmcall(); break;
                case "unbacked": code.mov(rax, __qword_ptr[0x7fff_0000]); break;
            }

            code.Label(ref self);
            code.jmp(self);
        });
        guest.Assemble(code => code.ud2());
        RunToTheEnd(guest, thread, "");
        StillWorks(thread);
    });

    [Test]
    public void The_engines_own_changes_still_come_out_when_its_slot_was_replaced() => OnEngineThread(thread =>
    {
        using EngineGuest guest = new(Engine);
        OwnEngineSlot(guest, code => code.hlt());
        guest.Assemble(code =>
        {
            code.mov(rax, __qword_ptr[rbx]);
            guest.Hypercall(code);
        });
        guest.State.Rbx = EngineGuest.Data;
        guest.Words(EngineGuest.FirstData)[0] = 1;
        guest.Words(EngineGuest.FirstData + 1)[0] = 2;
        Assert.That((guest.Run(thread).Kind, guest.State.Rax), Is.EqualTo((TrapKind.Hypercall, 1UL)));
        guest.Change(EngineGuest.L1, EngineGuest.EntryOf(EngineGuest.Data), guest.Frame(EngineGuest.FirstData + 1).Address | EngineGuest.Rights);
        guest.State.Rip = EngineGuest.Code;
        Assert.That((guest.Run(thread).Kind, guest.State.Rax), Is.EqualTo((TrapKind.Hypercall, 2UL)), "the notification runs on tables of the engine's own");
    });

    /// <summary>Runs a guest, turn by turn, until it is fatal.</summary>
    public static void RunToTheEnd(EngineGuest guest, IEngineThread thread, string expected)
    {
        Trap trap = default;
        for (int run = 0; run < MostRuns && trap.Kind != TrapKind.Fatal; run++)
            trap = guest.Run(thread, milliseconds: 5);
        TestContext.Out.WriteLine(trap.Diagnosis);
        Assert.That(trap.Kind, Is.EqualTo(TrapKind.Fatal));
        Assert.That(trap.Diagnosis, Does.Contain(expected));
    }

    private void StillWorks(IEngineThread thread)
    {
        using EngineGuest other = new(Engine);
        other.Assemble(code => other.Hypercall(code));
        Assert.That(other.Run(thread).Kind, Is.EqualTo(TrapKind.Hypercall));
    }

    private EngineGuest Mapping(int frame)
    {
        EngineGuest guest = new(Engine);
        guest.Words(EngineGuest.L1)[EngineGuest.EntryOf(EngineGuest.Data)] = ((ulong)frame << 12) | EngineGuest.Rights;
        return guest;
    }

    // The engine's slot, rebuilt from tables of the guest: the same frames at the same places, but the exception stubs are the guest's.
    private static void OwnEngineSlot(EngineGuest guest, Action<Assembler> ring0)
    {
        KvmMachine machine = (KvmMachine)guest.Machine;
        EngineArea area = machine.Area;
        guest.Words(EngineGuest.L4)[machine.RootEntries[0].Slot] = guest.Frame(OwnL3).Address | EngineGuest.Rights;
        guest.Words(OwnL3)[0] = guest.Frame(OwnL2).Address | EngineGuest.Rights;
        guest.Words(OwnL2)[0] = guest.Frame(OwnL1).Address | EngineGuest.Rights;
        guest.Words(OwnL2)[1] = guest.Frame(OwnCpuL1).Address | EngineGuest.Rights;
        for (int frame = 0; frame < area.FrameCount; frame++)
            guest.Words(OwnL1)[frame] = ((ulong)frame << 12) | 0x63;
        int stubs = (int)((area.ExceptionEntry - area.Base) >> 12);
        guest.Words(OwnL1)[stubs] = guest.Frame(OwnStubs).Address | 0x63;
        guest.Words(OwnCpuL1)[EngineArea.GuestGdtFrames] = ((ulong)area.ConstantFrameCount << 12) | 0x63;
        Assembler assembler = new(64);
        ring0(assembler);
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), area.ExceptionEntry);
        byte[] code = stream.ToArray();
        Span<byte> page = System.Runtime.InteropServices.MemoryMarshal.AsBytes(guest.Words(OwnStubs));
        for (int vector = 0; vector < EngineArea.Vectors; vector++)
        {
            // Every stub jumps to the one place behind them all.
            int at = vector * EngineArea.StubSpacing;
            page[at] = 0xe9;
            BitConverter.TryWriteBytes(page[(at + 1)..], 0x800 - (at + 5));
        }

        code.CopyTo(page[0x800..]);
    }
}
