using System.Text.Json.Nodes;
using Tessera.Linux.Tests.Support;

namespace Tessera.Linux.Tests.Kill;

/// <summary>The disk under test as a configuration names it, and the server behind it where there is one.</summary>
internal sealed class KillDisk : IDisposable
{
    private const long Bytes = 64 << 20;

    private readonly KillFolder _folder;
    private readonly string _backend;
    private readonly NbdServer? _server;

    /// <param name="folder">Where its files are.</param>
    /// <param name="backend">raw-file, copy-on-write or nbd.</param>
    public KillDisk(KillFolder folder, string backend)
    {
        (_folder, _backend) = (folder, backend);
        if (backend == "copy-on-write")
            File.WriteAllBytes(folder.At("base"), new byte[1 << 20]);
        if (backend != "nbd")
            return;
        using (FileStream disk = File.Create(folder.At("disk")))
            disk.SetLength(Bytes);
        // A cache that writes back only when it is told to: so a flush that does not get there is noticed.
        _server = new NbdServer("--filter=cache", "file", folder.At("disk"), "cache=writeback");
    }

    /// <summary>Decorating backends over it, by the paths of their DLLs.</summary>
    public IReadOnlyList<string> Layers { get; init; } = [];

    public JsonObject Configuration => new()
    {
        ["name"] = "xvdb",
        ["backend"] = _backend,
        ["options"] = _backend switch
        {
            "raw-file" => new JsonObject { ["path"] = _folder.At("disk"), ["create"] = "64 MiB" },
            "copy-on-write" => new JsonObject { ["base"] = _folder.At("base"), ["overlay"] = _folder.At("overlay"), ["size"] = "64 MiB" },
            _ => new JsonObject { ["uri"] = _server!.Uri },
        },
        ["layers"] = new JsonArray([.. Layers.Select(layer => new JsonObject { ["backend"] = layer })]),
    };

    /// <summary>Kills the server too and starts it again: what it had not been told to make stable goes with it.</summary>
    public void KillServer() => _server?.Restart();

    public void Dispose() => _server?.Dispose();
}
