using Tessera.Kernel.Devices.Block;
using Tessera.Kernel.Devices.Network;
using Tessera.Lab.Results;
using Tessera.Sdk.Devices;

namespace Tessera.Experiments.Results;

/// <summary>Makes results of what disks and network interfaces did in a window.</summary>
internal static class DeviceResults
{
    /// <summary>A disk's.</summary>
    /// <param name="name">Its name in the guest.</param>
    /// <param name="reading">What it did.</param>
    /// <param name="seconds">The window's length; 0 when it never began.</param>
    public static DiskResult Of(string name, BlockReading reading, double seconds) => new(
        name,
        reading.Reads,
        reading.ReadBytes,
        reading.Writes,
        reading.WrittenBytes,
        reading.Flushes,
        reading.Discards,
        reading.Failed,
        reading.Refused,
        reading.Notifications,
        Rate(reading.Reads, seconds),
        Rate(reading.ReadBytes, seconds),
        Rate(reading.Writes, seconds),
        Rate(reading.WrittenBytes, seconds),
        Summary(reading.ReadLatency),
        Summary(reading.WriteLatency),
        Summary(reading.FlushLatency),
        reading.Problem);

    /// <summary>An interface's.</summary>
    /// <param name="number">Its number in the domain.</param>
    /// <param name="address">Its address.</param>
    /// <param name="reading">What it did.</param>
    /// <param name="seconds">The window's length; 0 when it never began.</param>
    public static NicResult Of(int number, MacAddress address, NetworkReading reading, double seconds) => new(
        number,
        address.ToString(),
        reading.SentFrames,
        reading.SentBytes,
        reading.ReceivedFrames,
        reading.ReceivedBytes,
        reading.Dropped,
        reading.Refused,
        reading.Notifications,
        Rate(reading.SentFrames, seconds),
        Rate(reading.SentBytes, seconds),
        Rate(reading.ReceivedFrames, seconds),
        Rate(reading.ReceivedBytes, seconds),
        LatencySummary.Of(reading.SendLatency),
        LatencySummary.Of(reading.ReceiveLatency),
        reading.Problem);

    private static double Rate(long count, double seconds) => seconds > 0 ? count / seconds : 0;

    private static LatencySummary? Summary(BlockLatency latency) =>
        latency.Count == 0 ? null : new(latency.P50.Value, latency.P99.Value, latency.Max.Value, latency.Count);
}
