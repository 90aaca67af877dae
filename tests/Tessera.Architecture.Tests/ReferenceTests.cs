using System.Text.Json;
using System.Xml.Linq;

namespace Tessera.Architecture.Tests;

/// <summary>References point one way: Plugins → Sdk; Kernel → Sdk; Cli → Kernel and Sdk; nothing → Cli; nothing → a plugin.</summary>
internal sealed class ReferenceTests
{
    [Test]
    public void The_SDK_references_no_other_project() => Assert.That(References("Sdk/Tessera.Sdk/Tessera.Sdk.csproj"), Is.Empty);

    [Test]
    public void The_SDK_needs_nothing_but_the_runtime()
    {
        string[] names = [.. typeof(Tessera.Sdk.Nanoseconds).Assembly.GetReferencedAssemblies().Select(name => name.Name!)];
        Assert.That(names.Where(name => !name.StartsWith("System.", StringComparison.Ordinal)), Is.Empty);
    }

    [Test]
    public void Plugins_reference_only_the_SDK() => OnlyRooms("Plugins", "Sdk");

    [Test]
    public void The_kernel_references_only_itself_and_the_SDK() => OnlyRooms("Kernel", "Kernel", "Sdk");

    [Test]
    public void The_command_line_references_no_plugin() => OnlyRooms("Cli", "Cli", "Kernel", "Sdk");

    [Test]
    public void No_part_of_the_SDK_references_anything_outside_of_it() => OnlyRooms("Sdk", "Sdk");

    [Test]
    public void Every_project_is_in_the_solution()
    {
        string[] listed = [.. XDocument.Load(Path.Combine(Repository.Root, "Tessera.slnx")).Descendants("Project").Select(project => project.Attribute("Path")!.Value)];
        Assert.That(Repository.Files("*.csproj", [.. Repository.Rooms, "tests", "bench", "samples"]), Is.SubsetOf(listed));
    }

    [Test]
    public void Every_plugin_and_the_command_line_are_in_the_product() =>
        Assert.That(Repository.Files("*.csproj", "Plugins", "Cli"), Is.SubsetOf(Product()));

    /// <summary>Lock files name what a project brings along by others, too, and each build writes them anew.</summary>
    [Test]
    public void The_product_ships_no_test_framework()
    {
        string[] frameworks = ["NUnit", "FsCheck", "FSharp", "xunit", "Microsoft.NET.Test", "Microsoft.TestPlatform"];
        IEnumerable<string> brought = Product().SelectMany(project =>
        {
            using JsonDocument locked = JsonDocument.Parse(File.ReadAllText(Path.Combine(Repository.Root, Path.GetDirectoryName(project)!, "packages.lock.json")));
            return locked.RootElement.GetProperty("dependencies").EnumerateObject().SelectMany(target => target.Value.EnumerateObject()).Select(package => package.Name).ToArray();
        });
        string[] names = [.. brought.Distinct()];
        Assert.That(names, Does.Contain("Spectre.Console"), "what the product is known to need");
        Assert.That(names.Where(name => frameworks.Any(framework => name.StartsWith(framework, StringComparison.OrdinalIgnoreCase))), Is.Empty);
    }

    private static string[] Product()
    {
        using JsonDocument filter = JsonDocument.Parse(File.ReadAllText(Path.Combine(Repository.Root, ".ci", "product.slnf")));
        return [.. filter.RootElement.GetProperty("solution").GetProperty("projects").EnumerateArray().Select(project => project.GetString()!)];
    }

    private static void OnlyRooms(string room, params string[] allowed)
    {
        IReadOnlyList<string> projects = Repository.Files("*.csproj", room);
        Assert.That(projects, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (string project in projects)
                Assert.That(References(project).Select(reference => reference.Split('/')[0]).Distinct(), Is.SubsetOf(allowed), project);
        });
    }

    /// <summary>The projects that a project references, those of a Directory.Build.props above it included, as paths below the root.</summary>
    private static IEnumerable<string> References(string project)
    {
        List<string> files = [project];
        for (string? folder = Path.GetDirectoryName(project); folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string props = Path.Combine(folder, "Directory.Build.props");
            if (File.Exists(Path.Combine(Repository.Root, props)))
                files.Add(props);
        }

        foreach (string file in files)
        {
            string full = Path.Combine(Repository.Root, file);
            foreach (XElement reference in XDocument.Load(full).Descendants("ProjectReference"))
            {
                string path = reference.Attribute("Include")!.Value.Replace('\\', '/').Replace("$(RepositoryRoot)", Repository.Root + "/", StringComparison.Ordinal);
                yield return Path.GetRelativePath(Repository.Root, Path.GetFullPath(path, Path.GetDirectoryName(full)!));
            }
        }
    }
}
