using Tessera.Kernel.Domains;
using Tessera.Sdk.Devices;

namespace Tessera.Kernel.Devices.Block;

/// <summary>A disk to attach to a domain.</summary>
public sealed record DiskConfiguration
{
    /// <summary>Its name in the guest: xvda to xvdz.</summary>
    public required string Name { get; init; }

    /// <summary>Where its data are, not opened; the disk owns it.</summary>
    public required IBlockBackend Backend { get; init; }

    /// <summary>Whether the guest may only read it.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>
    /// Whether a frontend may use the same grants for all requests, to copy data into and out of. Pinning a grant is cheaper here than
    /// that copy (there is no TLB to flush), so the default is that frontends grant their own pages.
    /// </summary>
    public bool PersistentGrants { get; init; }
}

/// <summary>A disk of a domain.</summary>
public sealed class Disk : SplitDevice
{
    private const int FirstExtended = 16;

    private readonly BlockDevice _block;
    private readonly IBlockBackend _backend;
    private readonly string _domain;

    private Disk(string domain, DiskConfiguration configuration, BusDevice device, BlockDevice block)
        : base(device) => (_domain, Name, _block, _backend) = (domain, configuration.Name, block, configuration.Backend);

    /// <summary>Its name in the guest.</summary>
    public string Name { get; }

    /// <summary>What it is like.</summary>
    public BlockGeometry Geometry => _block.Geometry;

    /// <summary>What it has done since it was attached, or since a measured window began.</summary>
    public BlockReading Read() => _block.Counters.Read() with { Problem = Error };

    /// <inheritdoc/>
    internal override void BeginWindow() => _block.Counters.Restart();

    /// <summary>Looks whether its storage has become larger, and if so tells the guest.</summary>
    /// <returns>Its size in bytes from now on.</returns>
    /// <exception cref="DeviceException">Its backend's storage does not grow, or it is gone.</exception>
    /// <exception cref="BackendException">The storage does not answer.</exception>
    public long Grow()
    {
        if (_backend.TryGet<IGrowingStorage>() is not { } growing)
            throw new DeviceException($"{Name} of {_domain}: its backend does not grow; one that does is raw-file.");
        Announce(keys =>
        {
            long size = growing.Grow();
            if (size > Geometry.Size)
                _block.Resize(size, keys);
        });
        return IsAttached ? Geometry.Size : throw new DeviceException($"{Name} of {_domain} has been detached.");
    }

    /// <inheritdoc/>
    private protected override string? Problem => _block.Problem;

    /// <summary>Xen's number of a disk's name: xvda is 51712 (major 202), and from xvdq on the extended numbering.</summary>
    /// <param name="name">xvda to xvdz.</param>
    /// <param name="number">The number.</param>
    public static bool TryNumberOf(string name, out int number)
    {
        number = 0;
        if (name.Length != 4 || !name.StartsWith("xvd", StringComparison.Ordinal) || !char.IsAsciiLetterLower(name[3]))
            return false;
        int index = name[3] - 'a';
        number = index < FirstExtended ? (202 << 8) | (index << 4) : (1 << 28) | (index << 8);
        return true;
    }

    internal static Disk Attach(DeviceBus bus, Frontend frontend, DiskConfiguration configuration, DeviceWorker worker)
    {
        try
        {
            if (!TryNumberOf(configuration.Name, out int number))
                throw new DeviceException($"A disk cannot be named \"{configuration.Name}\"; names are xvda to xvdz.");
            if (bus.Find(frontend.Id, BlockDevice.DeviceType, number) is not null)
                throw new DeviceException($"Domain '{frontend.Name}' has a disk {configuration.Name} already; detach it first or take another name.");
            BlockGeometry geometry = configuration.Backend.Open(configuration.IsReadOnly ? BlockAccess.ReadOnly : BlockAccess.ReadWrite);
            BlockDevice block = new(frontend, configuration, geometry, worker);
            return new Disk(frontend.Name, configuration, bus.Attach(frontend.Id, number, block), block);
        }
        catch
        {
            configuration.Backend.Dispose();
            throw;
        }
    }
}
