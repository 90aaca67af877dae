using System.IO.Compression;
using System.Reflection.Metadata;
using System.Text;
using System.Xml.Linq;
using Tessera.Packages.Tests.Support;

namespace Tessera.Packages.Tests;

/// <summary>What is inside the packages.</summary>
internal sealed class PackageTests
{
    private static readonly string[] Libraries = ["Tessera.Sdk", "Tessera.Sdk.Xen", "Tessera.Sdk.Simulation", "Tessera.Sdk.Conformance", "Tessera.Sdk.Conformance.NUnit"];

    [Test]
    public void Packing_gives_these_packages_and_no_others()
    {
        string[] expected = [.. Libraries.Order(StringComparer.Ordinal), "Tessera.Templates"];
        Assert.Multiple(() =>
        {
            Assert.That(Directory.GetFiles(PackedOnce.Feed, "*.nupkg").Select(Id).Order(StringComparer.Ordinal), Is.EqualTo(expected));
            Assert.That(Directory.GetFiles(PackedOnce.Feed, "*.snupkg").Select(Id).Order(StringComparer.Ordinal), Is.EqualTo(Libraries.Order(StringComparer.Ordinal)));
        });
    }

    [TestCaseSource(nameof(Libraries))]
    public void A_library_has_a_readme_documentation_licence_and_symbols_with_their_source(string id)
    {
        using ZipArchive package = Open(id, "nupkg");
        using ZipArchive symbols = Open(id, "snupkg");
        string[] assemblies = [.. package.Entries.Select(entry => entry.FullName).Where(name => name.EndsWith(".dll", StringComparison.Ordinal))];
        Assert.Multiple(() =>
        {
            Assert.That(assemblies, Has.Member($"lib/net10.0/{id}.dll"));
            Assert.That(Metadata(package, "license")!.Value, Is.EqualTo("Apache-2.0"));
            Assert.That(Text(package, Metadata(package, "readme")!.Value), Does.StartWith($"# {id}"));
            foreach (string assembly in assemblies)
            {
                Assert.That(Text(package, Path.ChangeExtension(assembly, "xml")), Does.Contain("<summary>"));
                Assert.That(EmbeddedSources(symbols, Path.ChangeExtension(assembly, "pdb")), Is.Not.Empty);
            }
        });
    }

    /// <summary>Whatever a project refers to must come from these packages or from the registry.</summary>
    [Test]
    public void Packages_depend_on_packages_of_the_same_version_and_on_what_the_registry_has()
    {
        string version = Path.GetFileNameWithoutExtension(Directory.GetFiles(PackedOnce.Feed, "Tessera.Templates.*.nupkg").Single())["Tessera.Templates.".Length..];
        Assert.Multiple(() =>
        {
            Assert.That(Dependencies("Tessera.Sdk"), Is.Empty);
            Assert.That(Dependencies("Tessera.Sdk.Simulation"), Is.EqualTo(new[] { $"Tessera.Sdk {version}" }));
            Assert.That(Dependencies("Tessera.Sdk.Conformance").Select(dependency => dependency.Split(' ')[0]), Is.EquivalentTo(new[] { "Tessera.Sdk", "Tessera.Sdk.Xen", "Tessera.Sdk.Simulation", "Iced" }));
            Assert.That(Dependencies("Tessera.Sdk.Conformance"), Is.SupersetOf(new[] { $"Tessera.Sdk {version}", $"Tessera.Sdk.Simulation {version}" }));
            Assert.That(Dependencies("Tessera.Sdk.Conformance.NUnit").Select(dependency => dependency.Split(' ')[0]), Is.EquivalentTo(new[] { "Tessera.Sdk", "Tessera.Sdk.Conformance", "NUnit" }));
        });
        using ZipArchive templates = Open("Tessera.Templates", "nupkg");
        Assert.That(Text(templates, "content/tessera-scheduler/Directory.Packages.props"), Does.Contain($"<TesseraVersion>{version}</TesseraVersion>").And.Not.Contain("_VERSION"));
    }

    /// <summary>A path of the machine that packed would tell strangers about it, and change with it.</summary>
    [Test]
    public void Released_packages_know_nothing_of_the_folder_they_were_built_in()
    {
        if (SourceTree.Configuration != "Release")
            Assert.Ignore("Only Release builds are packed for others, and this is a Debug build.");
        Assert.Multiple(() =>
        {
            foreach (string file in Directory.GetFiles(PackedOnce.Feed))
            {
                using ZipArchive package = ZipFile.OpenRead(file);
                foreach (ZipArchiveEntry entry in package.Entries)
                {
                    byte[] content = Bytes(entry);
                    Assert.That(content.AsSpan().IndexOf(Encoding.UTF8.GetBytes(SourceTree.Root)), Is.Negative, $"{Path.GetFileName(file)}: {entry.FullName}");
                }
            }
        });
    }

    [Test]
    public void Packing_again_gives_the_same_bytes()
    {
        string again = PackedOnce.NewFolder();
        Ended packed = PackedOnce.Shell.Dotnet(SourceTree.Root, "pack", "Sdk/Tessera.Sdk", "-c", SourceTree.Configuration, "-o", again, "--no-build", "--no-restore", "--nologo", "-v", "quiet");
        Assert.That(packed.Code, Is.Zero, packed.ToString());
        string[] files = Directory.GetFiles(again);
        Assert.That(files, Has.Length.EqualTo(2));
        using (ZipArchive package = ZipFile.OpenRead(files[0]))
        {
            if (package.Entries[0].LastWriteTime.Year != 2020)
                Assert.Ignore("This .NET SDK's pack cannot give files a fixed date.");
        }

        foreach (string file in files)
            Assert.That(File.ReadAllBytes(file).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(PackedOnce.Feed, Path.GetFileName(file)))), Is.True, Path.GetFileName(file));
    }

    private static string Id(string file)
    {
        string name = Path.GetFileNameWithoutExtension(file);
        string[] parts = name.Split('.');
        return string.Join('.', parts.TakeWhile(part => !char.IsAsciiDigit(part[0])));
    }

    private static ZipArchive Open(string id, string extension) => ZipFile.OpenRead(Directory.GetFiles(PackedOnce.Feed, $"*.{extension}").Single(file => Id(file) == id));

    private static XElement? Metadata(ZipArchive package, string name) =>
        XDocument.Parse(Text(package, package.Entries.Single(entry => entry.FullName.EndsWith(".nuspec", StringComparison.Ordinal)).FullName))
            .Descendants().FirstOrDefault(element => element.Name.LocalName == name);

    private static string[] Dependencies(string id)
    {
        using ZipArchive package = Open(id, "nupkg");
        return [.. Metadata(package, "dependencies")?.Descendants().Where(element => element.Name.LocalName == "dependency").Select(element => $"{element.Attribute("id")!.Value} {element.Attribute("version")!.Value}") ?? []];
    }

    private static string Text(ZipArchive package, string name)
    {
        ZipArchiveEntry? entry = package.GetEntry(name);
        Assert.That(entry, Is.Not.Null, $"{name} is not in the package.");
        return Encoding.UTF8.GetString(Bytes(entry!)).TrimStart('\uFEFF');
    }

    private static byte[] Bytes(ZipArchiveEntry entry)
    {
        using Stream content = entry.Open();
        using MemoryStream copy = new();
        content.CopyTo(copy);
        return copy.ToArray();
    }

    /// <summary>The source files inside a portable PDB: custom debug information of the kind "embedded source".</summary>
    private static string[] EmbeddedSources(ZipArchive symbols, string name)
    {
        Guid embeddedSource = new("0E8A571B-6926-466E-B4AD-8AB04611F5FE");
        ZipArchiveEntry? entry = symbols.GetEntry(name);
        Assert.That(entry, Is.Not.Null, $"{name} is not in the symbol package.");
        using MemoryStream content = new(Bytes(entry!));
        using MetadataReaderProvider provider = MetadataReaderProvider.FromPortablePdbStream(content);
        MetadataReader reader = provider.GetMetadataReader();
        return
        [
            .. reader.Documents
                .Where(document => reader.GetCustomDebugInformation(document).Any(info => reader.GetGuid(reader.GetCustomDebugInformation(info).Kind) == embeddedSource))
                .Select(document => reader.GetString(reader.GetDocument(document).Name)),
        ];
    }
}
