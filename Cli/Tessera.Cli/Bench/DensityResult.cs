using System.Text.Json.Serialization;
using Tessera.Lab;
using Tessera.Sdk;

namespace Tessera.Cli.Bench;

/// <summary>How much the density benchmark does.</summary>
/// <param name="Domains">Domains in the crowd.</param>
/// <param name="Pairs">Pairs of windows.</param>
/// <param name="Window">Length of one window.</param>
/// <param name="LatencyTime">How long each of the two latency measurements takes.</param>
/// <param name="Allowance">BVT's context-switch allowance, which is a hog's slice.</param>
internal sealed record DensityPlan(int Domains, int Pairs, Nanoseconds Window, Nanoseconds LatencyTime, Nanoseconds Allowance);

/// <summary>What `bench density --json` writes.</summary>
/// <param name="Schema">Always <see cref="Format"/>.</param>
/// <param name="Domains">Domains in the crowd.</param>
/// <param name="WindowSeconds">Length of one window.</param>
/// <param name="WorkRatio">Work a second of pCPU time, the crowd over one alone, pair by pair.</param>
/// <param name="TimeNotInGuests">The part of pCPU time that was not spent inside guests.</param>
/// <param name="Switches">vCPU switches in the crowd's windows.</param>
/// <param name="BeatWithoutWarp">Deadline-to-run latency of a domain that wakes every 10 ms beside the crowd.</param>
/// <param name="BeatWithWarp">The same with BVT's warp.</param>
internal sealed record DensityResult(
    string Schema, int Domains, double WindowSeconds, PairedRatios WorkRatio, LossAccount TimeNotInGuests, long Switches, BeatLatency BeatWithoutWarp, BeatLatency BeatWithWarp)
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.bench.density/1";
}

/// <summary>pCPU time lost, as parts of the whole.</summary>
/// <param name="CrowdMean">Mean over the crowd's windows.</param>
/// <param name="CrowdMax">The worst of them.</param>
/// <param name="AloneMean">Mean over the windows of the domain alone.</param>
internal sealed record LossAccount(double CrowdMean, double CrowdMax, double AloneMean);

/// <summary>Latencies in nanoseconds.</summary>
/// <param name="P50">Median.</param>
/// <param name="P99">99th percentile.</param>
/// <param name="Max">The worst.</param>
/// <param name="Count">Wakes.</param>
/// <param name="Overruns">Deadlines that had passed before the domain could wait for them.</param>
internal sealed record BeatLatency(long P50, long P99, long Max, long Count, long Overruns);

/// <summary>What `bench cpu --json` writes.</summary>
/// <param name="Schema">Always <see cref="Format"/>.</param>
/// <param name="WindowSeconds">Length of one window.</param>
/// <param name="WorkRatio">Work a second in a guest over the same code on the host, pair by pair.</param>
internal sealed record CpuResult(string Schema, double WindowSeconds, PairedRatios WorkRatio)
{
    /// <summary>The format's name and number.</summary>
    public const string Format = "tessera.bench.cpu/1";
}

/// <summary>Serialisation of the benchmarks' results.</summary>
[JsonSerializable(typeof(DensityResult))]
[JsonSerializable(typeof(CpuResult))]
internal sealed partial class DensityJson : JsonSerializerContext
{
    public static DensityJson Context { get; } = new(JsonForm.Options());
}
