using Tessera.Lab.Metrics;
using Tessera.Lab.Recording;
using Tessera.Sdk.Scheduling.Core;

namespace Tessera.Lab.Tests.Metrics;

/// <summary>Recordings as long as they may be.</summary>
internal sealed class SizeTests
{
    [Test]
    public void Half_a_million_events_of_a_thousand_sleepers_are_measured()
    {
        // A thousand domains of three weights in turns of 30 µs on each of two pCPUs; every second stint ends asleep, and the sleeper wakes at the next.
        const int domains = 1000;
        Recordings recording = new(2, [.. Enumerable.Range(0, domains).Select(index => 100 * (1 + (index % 3)))]);
        for (int domain = 0; domain < domains; domain++)
            recording.Wake(0, domain);
        int asleep = -1;
        double at = 0;
        for (int turn = 0; turn < 400_000; turn++)
        {
            int pcpu = turn & 1;
            int domain = turn % domains;
            at = turn * 0.015;
            if (asleep >= 0)
                recording.Wake(at, asleep);
            asleep = turn % 4 == 3 ? (turn - 2) % domains : -1;
            if (asleep >= 0)
                recording.Sleep(at, asleep);
            recording.Run(at, domain, pcpu, turn < 2 ? RunEnd.None : asleep >= 0 ? RunEnd.Slept : RunEnd.Preempted);
        }

        ScheduleRecording whole = recording.Until(at + 1);
        RunMetrics metrics = RunMetrics.Of(whole);
        Assert.Multiple(() =>
        {
            Assert.That(metrics.Domains.Sum(domain => domain.Share), Is.EqualTo(metrics.BusyShare).Within(1e-9));
            Assert.That(metrics.Domains.Sum(domain => domain.IdealShare), Is.EqualTo(1).Within(0.01));
        });
    }
}
