using Tessera.Plugins.Schedulers.Rtds;
using Tessera.Plugins.Schedulers.Sedf;
using Tessera.Sdk;
using Tessera.Sdk.Scheduling;
using Tessera.Sdk.Simulation;

namespace Tessera.Scheduling.Tests.Published;

/// <summary>
/// C. L. Liu and J. W. Layland, "Scheduling algorithms for multiprogramming in a hard-real-time environment" (JACM 1973), theorem 7: on one CPU earliest
/// deadline first meets every deadline if and only if the utilisations add up to 1 at most.
/// </summary>
public sealed class LiuLaylandTests
{
    [Test]
    public void Every_slice_is_had_in_every_period_up_to_a_utilisation_of_one([Values("sedf", "rtds")] string policy) =>
        Assert.That(Misses(policy, [(1, 4), (2, 10), (11, 20)]), Is.Zero);

    [Test]
    public void Beyond_it_some_are_missed([Values("sedf", "rtds")] string policy) =>
        Assert.That(Misses(policy, [(1, 4), (2, 10), (12, 20)]), Is.Positive);

    /// <summary>Rate-monotonic order fails here, by the same paper: two tasks of utilisation 0.97, above 2 (√2 − 1).</summary>
    [Test]
    public void Deadlines_that_fixed_priorities_would_miss_are_met([Values("sedf", "rtds")] string policy) =>
        Assert.That(Misses(policy, [(2, 5), (4, 7)]), Is.Zero);

    /// <summary>How often a CPU-bound vCPU had less than its slice by the end of one of its periods, over a thousand of the shortest.</summary>
    private static int Misses(string policy, (int Slice, int Period)[] reservations)
    {
        VirtualMachine machine = new(Policies.Named(policy), new VirtualMachineOptions { StarvationLimit = Nanoseconds.Zero });
        SchedulableVcpu[] vcpus = [.. reservations.Select((own, index) => machine.Start(index + 1, new CpuBoundWorkload(), options: Reserve(policy, own.Slice, own.Period)))];
        int misses = 0;
        for (int time = 1; time <= 4_000; time++)
        {
            machine.RunUntil(Nanoseconds.FromMilliseconds(time));
            for (int index = 0; index < vcpus.Length; index++)
            {
                (int slice, int period) = reservations[index];
                if (time % period == 0 && machine.Core.AccountOf(vcpus[index], machine.Now).CpuTime < Nanoseconds.FromMilliseconds(time / period * slice))
                    misses++;
            }
        }

        return misses;
    }

    private static object Reserve(string policy, int slice, int period) => policy == "sedf"
        ? new SedfDomainOptions { Slice = Nanoseconds.FromMilliseconds(slice), Period = Nanoseconds.FromMilliseconds(period), ExtraTime = false }
        : new RtdsDomainOptions { Budget = Nanoseconds.FromMilliseconds(slice), Period = Nanoseconds.FromMilliseconds(period), ExtraTime = false };
}
