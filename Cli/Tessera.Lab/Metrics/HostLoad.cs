namespace Tessera.Lab.Metrics;

/// <summary>What the host's other work took from a measurement, in words.</summary>
public static class HostLoad
{
    /// <summary>From this part of pCPU time on that the host withheld, in per cent, latencies say little.</summary>
    public const double BusyPercent = 2;

    /// <summary>From this part on nothing should be made of a measurement, in per cent.</summary>
    public const double StarvedPercent = 5;

    /// <summary>What it means, for one run.</summary>
    /// <param name="percent">The part of pCPU time that was withheld, in per cent.</param>
    public static string Sentence(double percent) =>
        $"The host was busy with other things: it withheld {NumberText.Of(percent)} % of the pCPUs' time. {(percent >= StarvedPercent ? "Latencies and the cost of decisions are the host's more than Tessera's; measure again on a quiet host." : "Latencies say little then.")}";
}
