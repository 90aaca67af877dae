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
public sealed class Disk
{
    private const int FirstExtended = 16;

    private readonly BusDevice _device;
    private readonly BlockDevice _block;
    private readonly IBlockBackend _backend;

    internal Disk(Domain domain, DiskConfiguration configuration, BusDevice device, BlockDevice block)
    {
        (Domain, Name, _device, _block, _backend) = (domain, configuration.Name, device, block, configuration.Backend);
    }

    /// <summary>Whose it is.</summary>
    public Domain Domain { get; }

    /// <summary>Its name in the guest.</summary>
    public string Name { get; }

    /// <summary>What it is like.</summary>
    public BlockGeometry Geometry => _block.Geometry;

    /// <summary>False once it has left.</summary>
    public bool IsAttached => !_device.End.IsCompleted;

    /// <summary>Why its frontend could not connect, or why its storage does not answer; null when all is well.</summary>
    public string? Error => _device.Error ?? _block.Problem;

    /// <summary>What it has done since it was attached, or since <see cref="Machine.BeginWindow"/>.</summary>
    public BlockReading Read() => _block.Counters.Read() with { Problem = Error };

    /// <summary>Counts from now on.</summary>
    internal void BeginWindow() => _block.Counters.Restart();

    /// <summary>Looks whether its storage has become larger, and if so tells the guest.</summary>
    /// <returns>Its size in bytes from now on.</returns>
    /// <exception cref="DeviceException">Its backend's storage does not grow, or it is gone.</exception>
    /// <exception cref="BackendException">The storage does not answer.</exception>
    public long Grow()
    {
        if (_backend.TryGet<IGrowingStorage>() is not { } growing)
            throw new DeviceException($"{Name} of {Domain.Name}: its backend does not grow; one that does is raw-file.");
        _device.Announce(keys =>
        {
            long size = growing.Grow();
            if (size > Geometry.Size)
                _block.Resize(size, keys);
        });
        return IsAttached ? Geometry.Size : throw new DeviceException($"{Name} of {Domain.Name} has been detached.");
    }

    /// <summary>Unplugs it: asks the guest to let go, and takes it away when it does not in time.</summary>
    /// <param name="timeout">How long the guest may take.</param>
    /// <returns>Whether the guest let go.</returns>
    public async Task<bool> DetachAsync(TimeSpan timeout) => await _device.DetachAsync(timeout) == DeviceEnd.Closed;

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

    internal static Disk Attach(DeviceBus bus, Domain domain, DiskConfiguration configuration, DeviceWorker worker)
    {
        if (!TryNumberOf(configuration.Name, out int number))
            throw new DeviceException($"A disk cannot be named \"{configuration.Name}\"; names are xvda to xvdz.");
        try
        {
            if (domain.Disks.Any(disk => disk.Name == configuration.Name && disk.IsAttached))
                throw new DeviceException($"Domain '{domain.Name}' has a disk {configuration.Name} already; detach it first or take another name.");
            BlockGeometry geometry = configuration.Backend.Open(configuration.IsReadOnly ? BlockAccess.ReadOnly : BlockAccess.ReadWrite);
            BlockDevice block = new(domain, configuration, geometry, worker);
            Disk disk = new(domain, configuration, bus.Attach(domain.Id, number, block), block);
            domain.AddDisk(disk);
            return disk;
        }
        catch
        {
            configuration.Backend.Dispose();
            throw;
        }
    }
}
