using Tessera.Cli.Guests;
using Tessera.Plugins.Cpu.Kvm;
using Tessera.Sdk.Cpu;

namespace Tessera.Linux.Tests.Support;

/// <summary>The stock Debian guests of the user's library, fetched when they are not there; tests are ignored with the reason when they cannot be had.</summary>
internal static class LinuxGuests
{
    /// <summary>A guest for a test, or the test is ignored.</summary>
    public static GuestEntry Require(string name)
    {
        try
        {
            using KvmEngine engine = new(new KvmOptions());
        }
        catch (EngineException exception)
        {
            Assert.Ignore(exception.Message);
        }

        try
        {
            GuestLibrary library = new(GuestLibrary.DefaultFolder());
            GuestEntry? present = library.List().FirstOrDefault(entry => entry.Name == name && entry.Problem is null);
            return present ?? library.GetAsync(name, new Progress<GuestProgress>(), CancellationToken.None).GetAwaiter().GetResult();
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
            Assert.Ignore("The guest debian has no root disk: `tessera guest get debian` makes it.");
        return guest;
    }
}
