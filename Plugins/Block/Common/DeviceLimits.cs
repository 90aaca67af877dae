using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Tessera.Plugins.Block.Native;
using Tessera.Sdk.Devices;

namespace Tessera.Plugins.Block;

/// <summary>What a block device of the host says of itself.</summary>
/// <param name="Logical">Its sectors, bytes: what every access is a multiple of.</param>
/// <param name="Physical">What it writes at once, bytes.</param>
/// <param name="DiscardGranularity">The pieces in which it takes discards, bytes; 0 when it takes none.</param>
internal readonly record struct DeviceLimits(int Logical, int Physical, int DiscardGranularity)
{
    private const string Classes = "/sys/class/block";

    /// <summary>Asks a device; null for what is none, such as a regular file.</summary>
    /// <param name="file">The open device.</param>
    /// <param name="path">The path by which it was opened.</param>
    public static DeviceLimits? Of(SafeFileHandle file, string path)
    {
        if (FileNative.LogicalSector(file) is not (>= BlockGeometry.SmallestSector and var logical))
            return null;
        int physical = Math.Max(logical, FileNative.PhysicalSector(file));
        return new(logical, physical, Math.Max(0, (int)Math.Min(DiscardGranularityOf(path) ?? physical, 1 << 30)));
    }

    /// <summary>The sector size for a guest: the device's, unless an option names another.</summary>
    /// <param name="device">The device; null for a regular file.</param>
    /// <param name="wanted">The option, bytes; 0 for none.</param>
    /// <param name="least">What the way of access asks for, bytes.</param>
    /// <param name="what">The file with its path, for errors.</param>
    /// <exception cref="BackendException">The option cannot be.</exception>
    public static int Sector(DeviceLimits? device, int wanted, int least, string what)
    {
        int sector = wanted > 0 ? wanted : Math.Max(device?.Logical ?? BlockGeometry.SmallestSector, least);
        if (sector is < BlockGeometry.SmallestSector or > 4096 || !int.IsPow2(sector))
            throw new BackendException($"{what}: sectors of {sector} bytes cannot be shown to a guest.", "Set the option sectorSize to 512, 1024, 2048 or 4096.");
        return sector >= least ? sector : throw new BackendException($"{what} takes direct access only in units of {least} bytes, and sectorSize is {sector}.", "Leave direct out, or sectorSize.");
    }

    /// <summary>Refuses a size whose last sector is not whole.</summary>
    /// <param name="size">Bytes.</param>
    /// <param name="sector">Bytes of a sector.</param>
    /// <param name="path">The file.</param>
    /// <param name="what">What it is, for errors.</param>
    /// <exception cref="BackendException">It is not.</exception>
    public static void RefusePartial(long size, int sector, string path, string what)
    {
        if (size % sector != 0)
        {
            throw new BackendException(
                $"{what} {path} has {size} bytes, not a whole number of sectors of {sector}: its last {size % sector} bytes would be out of reach.",
                $"Round it up: truncate -s %{sector} {path}");
        }
    }

    private static long? DiscardGranularityOf(string path)
    {
        try
        {
            string device = File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName ?? Path.GetFullPath(path);
            string named = Path.Combine(Classes, Path.GetFileName(device));
            string folder = Directory.ResolveLinkTarget(named, returnFinalTarget: true)?.FullName ?? named;
            // A partition's queue is its disk's.
            string queue = Path.Combine(File.Exists(Path.Combine(folder, "partition")) ? Path.GetDirectoryName(folder)! : folder, "queue");
            long Read(string name) => long.Parse(File.ReadAllText(Path.Combine(queue, name)), NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture);
            return Read("discard_max_bytes") == 0 ? 0 : Read("discard_granularity");
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or FormatException or OverflowException)
        {
            // Without /sys it is tried: a device that takes none says so.
            return null;
        }
    }
}
