using System.Globalization;
using Tessera.GuestLibrary;
using Tessera.Kernel.Domains;
using Tessera.Linux.Tests.Support;
using Tessera.Plugins.Memory.StaticPartition;
using Tessera.Sdk;
using Tessera.Sdk.Memory;

namespace Tessera.Linux.Tests;

/// <summary>Linux's own balloon driver does what a memory policy aims at by the store's memory/target.</summary>
[TestFixtureSource(typeof(Engines), nameof(Engines.Each))]
internal sealed class BalloonTests(string engine)
{
    [TestCase("debian")]
    [TestCase("debian-6.12")]
    public void A_guest_shrinks_and_grows_to_its_target_up_to_its_maximum(string name)
    {
        GuestEntry guest = LinuxGuests.Require(name);
        AimingPolicy policy = new();
        using LinuxMachine machine = new(engine, memoryPolicy: policy);
        Domain domain = machine.Create("linux", guest, 192, mostMebibytes: 256);
        machine.Machine.Start(domain);
        machine.WaitForShell(domain);
        LinuxConsole console = machine.ConsoleOf(domain);
        long atBoot = FreeKibibytes(console);
        Assert.That(domain.AssignedFrames, Is.EqualTo(192 << 8), "nothing moves before it is told to");

        Aim(128);
        Assert.That(FreeKibibytes(console), Is.LessThan(atBoot - (40 << 10)));
        Aim(192);
        Assert.That(FreeKibibytes(console), Is.GreaterThan(atBoot - (24 << 10)));
        Aim(256);
        Assert.That(FreeKibibytes(console), Is.GreaterThan(atBoot + (40 << 10)));
        // More than it could hold before, and all of it is there.
        long more = (atBoot >> 10) + 20;
        _ = console.Run("mkdir /m && mount -t tmpfs -o size=90% none /m");
        string written = console.Run($"dd if=/dev/zero of=/m/much bs=1M count={more} 2>/dev/null; wc -c < /m/much");
        Assert.That(written, Is.EqualTo($"{more << 20}"));
        _ = console.Run("umount /m");
        Aim(160);
        Assert.That(console.Run("dmesg | grep -ciE 'oops|call trace|BUG:'", expectedStatus: 1), Is.EqualTo("0"));
        Assert.That(machine.Machine.MemoryPolicyFailure, Is.Null);

        void Aim(int mebibytes)
        {
            policy.Target = mebibytes << 8;
            Assert.That(SpinWait.SpinUntil(() => domain.AssignedFrames == mebibytes << 8, Hang.Limit), Is.True,
                () => $"it has {domain.AssignedFrames >> 8} MiB where it should have {mebibytes}");
        }
    }

    private static long FreeKibibytes(LinuxConsole console) =>
        long.Parse(console.Run("awk '/^MemFree/ { print $2 }' /proc/meminfo"), CultureInfo.InvariantCulture);

    /// <summary>One target for everybody.</summary>
    private sealed class AimingPolicy : IMemoryPolicy
    {
        private readonly StaticPartition _inner = new();

        public long Target { get; set; }

        public Nanoseconds RebalancePeriod => Nanoseconds.FromMilliseconds(20);

        public long Admit(in MemoryRequest request, in MemoryBudget budget) => _inner.Admit(request, budget);

        public long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget) => _inner.Grant(domain, asked, budget);

        public IReadOnlyList<MemoryTarget> Rebalance(Nanoseconds now, IReadOnlyList<DomainMemoryFacts> domains, in MemoryBudget budget) =>
            Target == 0 ? [] : [.. domains.Select(domain => new MemoryTarget(domain.Domain, Target))];
    }
}
