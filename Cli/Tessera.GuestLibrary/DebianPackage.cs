namespace Tessera.GuestLibrary;

/// <summary>One package as the package lists describe it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Bytes">The size of the .deb.</param>
/// <param name="Sha256">The checksum of the .deb, lower-case hexadecimal.</param>
/// <param name="InstalledBytes">What it takes unpacked.</param>
internal sealed record DebianPackage(string Name, string Version, long Bytes, string Sha256, long InstalledBytes)
{
    /// <summary>Reads every paragraph of what `apt-cache show` prints for several packages; those that lack what a download needs are left out.</summary>
    public static IReadOnlyList<DebianPackage> ParseAll(string control) =>
        [.. control.Split("\n\n", StringSplitOptions.RemoveEmptyEntries).Select(Parse).OfType<DebianPackage>()];

    /// <summary>Reads the first paragraph of what `apt-cache show` prints; null when it lacks what a download needs.</summary>
    public static DebianPackage? Parse(string control)
    {
        Dictionary<string, string> fields = [];
        foreach (string line in control.Split('\n'))
        {
            if (line.Length == 0 && fields.Count > 0)
                break;
            int colon = line.IndexOf(": ", StringComparison.Ordinal);
            // Continuation lines begin with a space.
            if (colon > 0 && line[0] != ' ')
                fields.TryAdd(line[..colon], line[(colon + 2)..].Trim());
        }
        return fields.TryGetValue("Package", out string? name) && fields.TryGetValue("Version", out string? version)
            && fields.TryGetValue("Size", out string? size) && long.TryParse(size, out long bytes)
            && fields.TryGetValue("SHA256", out string? sha256) && sha256.Length == 64
            ? new(name, version, bytes, sha256, fields.TryGetValue("Installed-Size", out string? kib) && long.TryParse(kib, out long installed) ? installed * 1024 : bytes * 4)
            : null;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Name} {Version}";
}
