using System.Buffers.Binary;
using Tessera.Kernel.Hypercalls;
using Tessera.Kernel.Time;
using Tessera.Kernel.Traps;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Xen;

namespace Tessera.Kernel.Tests;

/// <summary>Guests compute the machine's time from their own counter, however far that is from the host's.</summary>
internal sealed class VcpuTimesTests
{
    private const int Page = HandDomain.FreePage;
    private const int ArgumentPage = HandDomain.FreePage + 1;

    private static readonly long[] Shifts = [0, 1, -1, 4_321, -11_652_461_437, -1_174_126_528_987, long.MaxValue, long.MinValue];

    [TestCaseSource(nameof(Shifts))]
    public void System_time_is_the_machines_whatever_the_guests_counter_is_shifted_by(long shift)
    {
        using HandMachine machine = new(shift);
        HandDomain domain = machine.Create();
        Vcpu vcpu = domain.Domain.Vcpus[0];
        MachineClock clock = machine.Machine.Clock;
        byte[] info = vcpu.Context.Info.Time.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(domain.Page(ArgumentPage), domain.Address(Page));
        HypercallCall call = new() { Vcpu = vcpu, A0 = (ulong)VcpuOp.RegisterVcpuTimeMemoryArea, A2 = domain.Address(ArgumentPage) };
        Assert.That(TimeCalls.VcpuOperation(ref call), Is.Zero);
        byte[] area = domain.Page(Page)[..VcpuTimeInfo.Size].ToArray();
        foreach (ulong ticks in (ulong[])[0, 1, 1_000_000, 1UL << 40])
        {
            ulong expected = Scale(ticks, clock.Multiplier, clock.Shift);
            ulong counter = clock.StartTsc + ticks + (ulong)shift;
            Assert.That(SystemTime(info, counter), Is.EqualTo(expected), $"vcpu_info after {ticks} ticks");
            Assert.That(SystemTime(area, counter), Is.EqualTo(expected), $"time area after {ticks} ticks");
        }
    }

    [TestCaseSource(nameof(Shifts))]
    public void The_counters_register_reads_as_the_guests_own_counter(long shift)
    {
        using HandMachine machine = new(shift);
        Vcpu vcpu = machine.Create().Domain.Vcpus[0];
        ulong before = machine.Machine.Clock.Counter;
        Assert.That(MsrPolicy.TryRead(vcpu, 0x10, out ulong value), Is.True);
        ulong after = machine.Machine.Clock.Counter;
        Assert.That(value - (ulong)shift, Is.InRange(before, after));
    }

    [TestCase(true, 2, true, true, "")]
    [TestCase(false, 2, true, false, "enters ring 0")]
    [TestCase(true, 1, true, false, "L4 slots")]
    [TestCase(true, 2, false, false, "FSGSBASE")]
    public void Fast_paths_are_on_or_off_for_a_reason(bool intercepts, int slots, bool hasFsGsBase, bool exists, string reason)
    {
        using HandEngine engine = new();
        EngineFacts facts = engine.Facts with { InterceptsSyscalls = intercepts, InterceptionReason = "`syscall` enters ring 0", FreeSlots = [.. Enumerable.Range(257, slots)] };
        FastPathSupport support = FastPathSupport.Of(facts, hasFsGsBase);
        Assert.That(support.Exists, Is.EqualTo(exists));
        Assert.That(support.Reason, Is.Not.Empty.And.Contain(reason));
    }

    /// <summary>Nanoseconds as a guest computes them (public/xen.h, vcpu_time_info).</summary>
    private static ulong SystemTime(byte[] area, ulong counter) =>
        BinaryPrimitives.ReadUInt64LittleEndian(area.AsSpan(VcpuTimeInfo.SystemTime)) + Scale(
            counter - BinaryPrimitives.ReadUInt64LittleEndian(area.AsSpan(VcpuTimeInfo.TscTimestamp)),
            BinaryPrimitives.ReadUInt32LittleEndian(area.AsSpan(VcpuTimeInfo.TscToSystemMul)),
            (sbyte)area[VcpuTimeInfo.TscShift]);

    private static ulong Scale(ulong ticks, uint multiplier, sbyte shift) =>
        (ulong)(((UInt128)(shift < 0 ? ticks >> -shift : ticks << shift) * multiplier) >> 32);
}
