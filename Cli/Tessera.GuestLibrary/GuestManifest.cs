using System.Text.Json;
using System.Text.Json.Serialization;
using Tessera.Lab.Folders;

namespace Tessera.GuestLibrary;

/// <summary>What guest.json holds. File names are relative to the guest's folder, so that a library can be moved.</summary>
internal sealed record GuestManifest
{
    public const string FileName = "guest.json";
    public const string CurrentSchema = "tessera.guest/1";

    public required string Schema { get; init; }

    public required string Name { get; init; }

    public required string Kernel { get; init; }

    public string? Initrd { get; init; }

    public string? Modules { get; init; }

    public string? RootDisk { get; init; }

    public required string CommandLine { get; init; }

    public string? KernelVersion { get; init; }

    public string? KernelFormat { get; init; }

    public string? Source { get; init; }

    /// <summary>What decides whether a fetched guest is up to date: the packages' checksums and the recipe of the RAM disk.</summary>
    public string? Fingerprint { get; init; }

    public required DateTimeOffset Added { get; init; }

    public void Write(string folder) => File.WriteAllText(Path.Combine(folder, FileName), JsonSerializer.Serialize(this, GuestManifestJson.Default.GuestManifest) + "\n");

    /// <exception cref="GuestException">It is missing, malformed or of another version, or names something outside its folder.</exception>
    public static GuestManifest Read(string folder)
    {
        string path = Path.Combine(folder, FileName);
        try
        {
            UntrustedFolder files = new(folder);
            GuestManifest manifest = JsonSerializer.Deserialize(files.ReadBytes(FileName), GuestManifestJson.Default.GuestManifest) ?? throw new JsonException("it is null");
            if (manifest.Schema != CurrentSchema)
                throw new JsonException($"\"schema\" is \"{manifest.Schema}\", this tessera reads \"{CurrentSchema}\"");
            foreach (string? file in (string?[])[manifest.Kernel, manifest.Initrd, manifest.RootDisk])
                Check(file, files.HasFile);
            Check(manifest.Modules, files.HasFolder);
            return manifest;
        }
        catch (Exception e) when (e is JsonException or IOException or UnauthorizedAccessException)
        {
            throw new GuestException($"{path}: {e.Message.TrimEnd('.')}. Get or add the guest again.", e);
        }
    }

    /// <summary>A guest is what is in its folder: a library that came from elsewhere cannot make another file of this host a domain's kernel or disk.</summary>
    private static void Check(string? file, Func<string, bool> isThere)
    {
        if (file is not null && !isThere(file))
            throw new JsonException($"it names \"{file}\", and there is no such file in its folder (paths that lead out of it and links do not count)");
    }
}

/// <summary>Serialisation of <see cref="GuestManifest"/>.</summary>
[JsonSourceGenerationOptions(
    JsonSerializerDefaults.Web, WriteIndented = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, RespectNullableAnnotations = true)]
[JsonSerializable(typeof(GuestManifest))]
internal sealed partial class GuestManifestJson : JsonSerializerContext;
