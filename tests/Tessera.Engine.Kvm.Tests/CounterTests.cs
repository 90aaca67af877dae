using FsCheck;
using FsCheck.Fluent;
using Iced.Intel;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Plugins.Cpu.Kvm.Paging;
using Tessera.Plugins.Cpu.Kvm.Probing;
using Tessera.Sdk.Conformance.Cpu;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Engine.Kvm.Tests;

/// <summary>The guest's time-stamp counter against the host's, on real CPUs; hardware virtualization starts a new vCPU's near 0.</summary>
[TestFixture]
internal sealed class CounterTests : EngineFixture
{
    [Test]
    public void Every_cpu_of_every_machine_counts_as_the_host_does() => OnEngineThread(thread =>
    {
        using HostCounter host = new();
        for (int machine = 0; machine < 2; machine++)
        {
            using EngineGuest guest = new(Engine, cpus: 2);
            guest.Assemble(code =>
            {
                code.rdtsc();
                guest.Hypercall(code);
            });
            for (int run = 0; run < 6; run++)
            {
                int cpu = run % 2;
                ref GuestCpuState state = ref guest.Cpus[cpu].State;
                state.Rip = EngineGuest.Code;
                ulong before = host.Read();
                Trap trap = guest.Run(thread, cpu);
                ulong after = host.Read();
                Assert.That(trap.Kind, Is.EqualTo(TrapKind.Hypercall), trap.Diagnosis);
                ulong read = ((state.Rdx << 32) | (uint)state.Rax) - (ulong)((IShiftsCounter)guest.Cpus[cpu]).CounterShift;
                Assert.That(read, Is.InRange(before, after), $"machine {machine}, CPU {cpu}");
            }
        }
    });

    [TestCase("Offset")]
    [TestCase("Register")]
    public void A_way_that_KVM_offers_leaves_what_it_says(string name)
    {
        CounterMethod method = Enum.Parse<CounterMethod>(name);
        int slot;
        using (EngineGuest any = new(Engine))
            slot = any.Machine.RootEntries[0].Slot;
        using KvmHost host = KvmHost.Open(KvmHost.DefaultPath());
        (bool offered, bool agrees, CounterShift shift) = HostProbe.OnOwnThread("test", thread =>
        {
            using ScratchGuest guest = new(host, slot, PagingStrategy.Flush, thread, cpus: 1);
            bool set = GuestCounter.TrySet(new VcpuCounter(guest.Cpu.Vcpu), host.Counter.Read, method, out CounterShift left);
            return (set, set && CounterProbe.Agrees(guest, left, host.Counter.Read), left);
        });
        TestContext.Out.WriteLine($"{method}: offered {offered}, {shift}");
        if (!offered)
            Assert.Ignore($"This host's KVM does not offer {method}.");
        Assert.That(agrees, Is.True);
    }

    [Test]
    public void Doctor_tells_how_the_counter_follows() =>
        Assert.That(Engine.Facts.Findings.Single(finding => finding.Probe == HostProbe.CounterProbeName).Finding, Does.StartWith("the host's"));
}

/// <summary>The arithmetic for kernels without KVM_VCPU_TSC_OFFSET, against a scripted KVM.</summary>
[TestFixture]
internal sealed class CounterShiftTests
{
    [Test]
    public void What_is_left_after_writing_the_register_is_found_within_the_error_told() =>
        Prop.ForAll<ushort[], long, int>((delays, start, late) =>
        {
            ScriptedCounter counter = new(delays, unchecked((ulong)start)) { Late = late };
            return GuestCounter.TrySet(counter, counter.Host, CounterMethod.Register, out CounterShift shift)
                && counter.OffsetsAsked == 0
                && (ulong)Math.Abs((decimal)shift.Ticks - (long)counter.Offset) <= shift.Error
                && shift.Error <= counter.LongestRead;
        }).QuickCheckThrowOnFailure();

    [Test]
    public void The_attribute_leaves_nothing_and_touches_no_register()
    {
        ScriptedCounter counter = new([], 77) { HasAttribute = true, Offset = unchecked((ulong)-1_174_126_528_987) };
        Assert.That(GuestCounter.TrySet(counter, counter.Host, CounterMethod.Offset, out CounterShift shift), Is.True);
        Assert.That((shift, counter.Offset, counter.Writes), Is.EqualTo((default(CounterShift), 0UL, 0)));
    }

    [Test]
    public void What_KVM_lacks_is_not_taken()
    {
        ScriptedCounter counter = new([], 0) { HasRegister = false };
        Assert.That(GuestCounter.TrySet(counter, counter.Host, CounterMethod.Offset, out _), Is.False);
        Assert.That(GuestCounter.TrySet(counter, counter.Host, CounterMethod.Register, out _), Is.False);
        Assert.That(GuestCounter.TrySet(counter, counter.Host, CounterMethod.AsItIs, out _), Is.True);
    }

    [Test]
    public void A_counter_that_drifts_is_refused()
    {
        ScriptedCounter counter = new([], 0) { Drift = 1_000_000 };
        Assert.That(GuestCounter.TrySet(counter, counter.Host, CounterMethod.Register, out _), Is.False);
    }

    [TestCase(0L, 0UL, 100UL, true)]
    [TestCase(0L, 0UL, 99UL, false)]
    [TestCase(0L, 1UL, 99UL, true)]
    [TestCase(0L, 0UL, 200UL, true)]
    [TestCase(0L, 0UL, 201UL, false)]
    [TestCase(-1000L, 0UL, 18_446_744_073_709_550_766UL, true, Description = "150 - 1000")]
    [TestCase(-1000L, 0UL, 150UL, false)]
    [TestCase(5L, 2UL, 207UL, true)]
    [TestCase(5L, 2UL, 208UL, false)]
    public void A_read_between_two_of_the_host_agrees_with_its_shift(long ticks, ulong error, ulong guest, bool agrees) =>
        Assert.That(new CounterShift(ticks, error).Agrees(guest, 100, 200), Is.EqualTo(agrees));

    [TestCase("Offset Register AsItIs", "Offset")]
    [TestCase("Register AsItIs", "Register")]
    [TestCase("AsItIs", "AsItIs")]
    [TestCase("", null)]
    public void The_most_exact_way_that_works_is_taken(string works, string? chosen) =>
        Assert.That(GuestCounter.Choose(method => works.Split(' ').Contains(method.ToString()))?.ToString(), Is.EqualTo(chosen));

    /// <summary>A KVM whose every step lasts as long as the script says.</summary>
    private sealed class ScriptedCounter(ushort[] delays, ulong start) : ICounterRegister
    {
        private ulong _now = start;
        private int _step;

        public bool HasAttribute { get; init; }

        public bool HasRegister { get; init; } = true;

        public ulong Drift { get; init; }

        /// <summary>What KVM adds to a written value, ticks: old kernels match it to the VM's other CPUs.</summary>
        public int Late { get; init; }

        public ulong Offset { get; set; } = 12_345;

        public int OffsetsAsked { get; private set; }

        public int Writes { get; private set; }

        public ulong LongestRead { get; private set; }

        public ulong Host()
        {
            Pass();
            return _now;
        }

        public bool TrySetOffset(ulong offset)
        {
            OffsetsAsked++;
            if (HasAttribute)
                Offset = offset;
            return HasAttribute;
        }

        public bool TryWrite(ulong value)
        {
            Pass();
            Writes++;
            Offset = value - _now + (ulong)Late;
            return HasRegister;
        }

        public bool TryRead(out ulong value)
        {
            ulong begin = _now;
            Pass();
            Offset += Drift;
            value = _now + Offset;
            Pass();
            // The next read of the host's counter passes time too.
            LongestRead = Math.Max(LongestRead, _now - begin + ushort.MaxValue);
            return HasRegister;
        }

        private void Pass() => _now += delays.Length == 0 ? 1UL : delays[_step++ % delays.Length];
    }
}
