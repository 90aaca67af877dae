using System.Diagnostics;
using System.Text.Json.Nodes;
using Tessera.Cli.Native;
using Tessera.Guests;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Machines;
using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Cli.Bench;

/// <summary>CPU-bound guest code against the very same instructions run by a host thread, on one host CPU, window by window.</summary>
internal sealed class CpuBench(Machine machine, Domain domain, ICpuEngine engine, int hostCpu) : IDisposable
{
    private const long UnitsAtOnce = 256;
    private static readonly Nanoseconds SettleTime = Nanoseconds.FromMilliseconds(50);
    private readonly HostCode _code = new(BuiltinGuests.SpinUnitsForHost());

    /// <summary>The machine's configuration: one domain of `spin`.</summary>
    public static JsonObject Configuration() => new()
    {
        ["machine"] = new JsonObject { ["pcpus"] = 1 },
        ["domains"] = new JsonArray(new JsonObject { ["name"] = "spin", ["guest"] = "spin" }),
    };

    /// <summary>Runs the benchmark; null when the user wants to stop.</summary>
    public CpuResult? Run(int pairs, Nanoseconds window, Func<Nanoseconds, bool> wait, Action<string> progress)
    {
        machine.Start(domain);
        machine.Pause(domain);
        List<double> ratios = [];
        for (int pair = 0; pair < pairs; pair++)
        {
            progress($"pair {pair + 1} of {pairs}");
            bool guestFirst = pair % 2 == 0;
            double first = guestFirst ? Guest(window, wait) : Host(window);
            double second = guestFirst ? Host(window) : Guest(window, wait);
            if (double.IsNaN(first) || double.IsNaN(second))
                return null;
            ratios.Add(guestFirst ? first / second : second / first);
        }

        return new CpuResult(CpuResult.Format, window.TotalSeconds, PairedRatios.Of(ratios));
    }

    /// <inheritdoc/>
    public void Dispose() => _code.Dispose();

    /// <summary>Units a second in the guest.</summary>
    private double Guest(Nanoseconds window, Func<Nanoseconds, bool> wait)
    {
        machine.Resume(domain);
        bool stopped = wait(SettleTime);
        (ulong units, Nanoseconds at) before = (ReportPage.UnitsOf(domain.ReadReportPage()), machine.Now);
        stopped |= !stopped && wait(window);
        (ulong units, Nanoseconds at) after = (ReportPage.UnitsOf(domain.ReadReportPage()), machine.Now);
        machine.Pause(domain);
        return stopped ? double.NaN : (after.units - before.units) / (after.at - before.at).TotalSeconds;
    }

    /// <summary>Units a second on the host, by a thread pinned to the same host CPU.</summary>
    private double Host(Nanoseconds window)
    {
        double rate = 0;
        Thread thread = new(() =>
        {
            using IEngineThread pinned = engine.EnterThread(hostCpu);
            long start = Stopwatch.GetTimestamp();
            long units = 0;
            do
            {
                _code.Call(UnitsAtOnce);
                units += UnitsAtOnce;
            }
            while (Stopwatch.GetElapsedTime(start).TotalSeconds < window.TotalSeconds);

            rate = units / Stopwatch.GetElapsedTime(start).TotalSeconds;
        })
        {
            Name = "tessera host spin",
        };
        thread.Start();
        thread.Join();
        return rate;
    }
}
