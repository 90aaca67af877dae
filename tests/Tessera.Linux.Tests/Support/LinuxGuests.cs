using System.Collections.Concurrent;
using Tessera.GuestLibrary;

namespace Tessera.Linux.Tests.Support;

/// <summary>The stock Debian guests of the user's library with their root disks, fetched or brought up to date once a run; tests are ignored with the reason when they cannot be had.</summary>
internal static class LinuxGuests
{
    private static readonly ConcurrentDictionary<string, Lazy<GuestEntry>> Guests = new();

    /// <summary>A guest for a test, or the test is ignored.</summary>
    public static GuestEntry Require(string name)
    {
        try
        {
            return Guests.GetOrAdd(name, static name => new Lazy<GuestEntry>(() => Get(name))).Value;
        }
        catch (GuestException exception)
        {
            Assert.Ignore($"No Linux guest: {exception.Message}");
            throw;
        }
    }

    /// <summary>The Debian with a root disk, or the test is ignored.</summary>
    public static GuestEntry RequireRootDisk()
    {
        GuestEntry guest = Require("debian");
        if (guest.RootDiskPath is null)
            Assert.Ignore("The guest debian has no root disk, and none could be made: `tessera guest get debian` says why.");
        return guest;
    }

    private static GuestEntry Get(string name)
    {
        Library library = new(Library.DefaultFolder());
        try
        {
            return library.GetAsync(name, new Progress<FetchProgress>(), CancellationToken.None, rootDisk: true).GetAwaiter().GetResult();
        }
        catch (GuestException) when (library.List().FirstOrDefault(entry => entry.Name == name && entry.Problem is null) is not null)
        {
            // Another run has the library at the moment, or the disk cannot be made: then what is there.
            return library.Find(name)!;
        }
    }
}
