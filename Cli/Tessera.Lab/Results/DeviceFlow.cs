using System.Globalization;

namespace Tessera.Lab.Results;

/// <summary>What went through a disk or a network interface in one direction, in the window.</summary>
/// <param name="Domain">The domain.</param>
/// <param name="Device">The device in it: "xvda", "nic 0".</param>
/// <param name="Way">The direction.</param>
/// <param name="Count">How many operations or frames.</param>
/// <param name="PerSecond">The same a second; null when the window never began.</param>
/// <param name="Bytes">Their bytes; null where there are none.</param>
/// <param name="BytesPerSecond">The same a second.</param>
/// <param name="Latency">How long they took; null when nothing was recorded.</param>
public sealed record DeviceFlow(
    string Domain, string Device, string Way, long Count, double? PerSecond, long? Bytes, double? BytesPerSecond, LatencySummary? Latency)
{
    /// <summary>Each direction in which something went, in the order of domains and devices.</summary>
    public static IEnumerable<DeviceFlow> Of(ResultDocument result) => result.Domains
        .SelectMany(domain => domain.Disks.SelectMany(Flows).Concat(domain.Nics.SelectMany(Flows)).Select(flow => flow with { Domain = domain.Name }))
        .Where(flow => flow.Count > 0)
        .Select(flow => flow with { PerSecond = result.ElapsedSeconds > 0 ? flow.Count / result.ElapsedSeconds : null });

    /// <summary>What is wrong with devices at the window's end, a line each.</summary>
    public static IEnumerable<string> Problems(ResultDocument result) => result.Domains.SelectMany(domain =>
        domain.Disks.Select(disk => (Device: disk.Name, disk.Problem)).Concat(domain.Nics.Select(nic => (Device: Name(nic), nic.Problem)))
            .Where(device => device.Problem is not null).Select(device => $"{domain.Name} {device.Device}: {device.Problem}"));

    private static IEnumerable<DeviceFlow> Flows(DiskResult disk) =>
    [
        Flow(disk.Name, "reads", disk.Reads, disk.ReadBytes, disk.ReadBytesPerSecond, disk.ReadLatencyNs),
        Flow(disk.Name, "writes", disk.Writes, disk.WrittenBytes, disk.WrittenBytesPerSecond, disk.WriteLatencyNs),
        Flow(disk.Name, "flushes", disk.Flushes, null, null, disk.FlushLatencyNs),
    ];

    private static IEnumerable<DeviceFlow> Flows(NicResult nic) =>
    [
        Flow(Name(nic), "sends", nic.SentFrames, nic.SentBytes, nic.SentBytesPerSecond, nic.SendLatencyNs),
        Flow(Name(nic), "receives", nic.ReceivedFrames, nic.ReceivedBytes, nic.ReceivedBytesPerSecond, nic.ReceiveLatencyNs),
    ];

    private static DeviceFlow Flow(string device, string way, long count, long? bytes, double? bytesPerSecond, LatencySummary? latency) =>
        new("", device, way, count, null, bytes, bytesPerSecond, latency);

    private static string Name(NicResult nic) => string.Create(CultureInfo.InvariantCulture, $"nic {nic.Number}");
}
