using System.Globalization;
using Tessera.Packages.Tests.Support;

namespace Tessera.Packages.Tests;

/// <summary>Packs the source tree once, as documented, into a local feed in an empty folder outside of it.</summary>
[SetUpFixture]
internal sealed class PackedOnce
{
    private static DirectoryInfo? _folder;

    /// <summary>An empty folder for a test to work in.</summary>
    public static string NewFolder() => Directory.CreateDirectory(Path.Combine(_folder!.FullName, Guid.NewGuid().ToString("N", CultureInfo.InvariantCulture)[..8])).FullName;

    /// <summary>Where the packages are.</summary>
    public static string Feed => Path.Combine(_folder!.FullName, "feed");

    public static Shell Shell => new(_folder!.FullName);

    [OneTimeSetUp]
    public void Pack()
    {
        _folder = Directory.CreateTempSubdirectory("tessera-packages-");
        Ended packed = Shell.Dotnet(SourceTree.Root, "pack", "Tessera.slnx", "-c", SourceTree.Configuration, "-o", Feed, "--no-build", "--no-restore", "--nologo", "-v", "quiet");
        Assert.That(packed.Code, Is.Zero, packed.ToString());
        string templates = Directory.GetFiles(Feed, "Tessera.Templates.*.nupkg").Single();
        Ended installed = Shell.New(Feed, "install", templates);
        Assert.That(installed.Code, Is.Zero, installed.ToString());
    }

    [OneTimeTearDown]
    public void Clear() => _folder?.Delete(recursive: true);
}
