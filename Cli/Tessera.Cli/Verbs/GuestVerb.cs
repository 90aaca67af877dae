using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using Spectre.Console;
using Tessera.Cli.Terminal;
using Tessera.GuestLibrary;
using Tessera.Guests;
using Tessera.Lab;

namespace Tessera.Cli.Verbs;

/// <summary>`tessera guest get|list|add`: the kernels that domains can boot by name.</summary>
internal sealed class GuestVerb(CliHost host, Library library) : IVerb
{
    /// <inheritdoc/>
    public Command Build() => new("guest", "Fetch, list and add guests.") { Get(), List(), Add() };

    private Command Get()
    {
        Argument<string> name = new("name") { Description = $"What to fetch: {string.Join(", ", GuestCatalogue.All.Select(guest => guest.Name))}." };
        Option<bool> noDisk = new("--no-disk") { Description = "Leave the root disk out: kernel and RAM disk alone boot to a shell." };
        Command get = new("get", "Fetch a stock Debian kernel from the configured package source and make a small RAM disk and a root disk for it.") { name, noDisk };
        get.SetAction(parsed => Get(parsed.GetRequiredValue(name), !parsed.GetValue(noDisk)));
        return get;
    }

    private Command List()
    {
        Option<bool> json = CommonOptions.Json("the list");
        Command list = new("list", "Show the guests that domains can name.") { json };
        list.SetAction(parsed => List(parsed.GetValue(json)));
        return list;
    }

    private Command Add()
    {
        Argument<string> name = new("name") { Description = "What to call it." };
        Argument<string> kernel = new("kernel") { Description = "A bzImage or an ELF file with Xen's PV notes." };
        Option<string?> initrd = new("--initrd") { Description = "Its initial RAM disk.", HelpName = "FILE" };
        Command add = new("add", "Copy a kernel of your own into the library.") { name, kernel, initrd };
        add.SetAction(parsed =>
        {
            GuestEntry entry = library.Add(parsed.GetRequiredValue(name), parsed.GetRequiredValue(kernel), parsed.GetValue(initrd));
            host.Out.WriteLine($"{entry.Name}: {Description(entry)}");
            return ExitCode.Good;
        });
        return add;
    }

    private int Get(string name, bool rootDisk)
    {
        using CancellationTokenSource stop = new();
        using RegisteredStop registered = new(host.Stop.Handle, stop.Cancel);
        GuestEntry entry = library.GetAsync(name, new ProgressLines(host), stop.Token, rootDisk).GetAwaiter().GetResult();
        host.Out.WriteLine($"{entry.Name}: {Description(entry)}");
        host.Out.WriteLine($"Boot it with: tessera boot {entry.Name}");
        return ExitCode.Good;
    }

    private int List(bool json)
    {
        IReadOnlyList<GuestEntry> entries = library.List();
        if (json)
        {
            GuestListing listing = new([.. BuiltinGuests.Names], entries);
            host.Out.WriteLine(JsonSerializer.Serialize(listing, GuestListingJson.Context.GuestListing));
            return ExitCode.Good;
        }

        Table table = new Table().Border(TableBorder.Simple);
        table.AddColumns("guest", "what it is");
        foreach (string builtin in BuiltinGuests.Names)
            table.AddRow(new Text(builtin, new Style(Color.Green)), new Text($"built in: {BuiltinGuests.Find(builtin)!.Summary}"));
        foreach (GuestEntry entry in entries)
            table.AddRow(new Text(entry.Name, new Style(Color.Green)), new Text(entry.Problem ?? Description(entry)));
        foreach (FetchableGuest fetchable in GuestCatalogue.All.Where(fetchable => entries.All(entry => entry.Name != fetchable.Name)))
            table.AddRow(new Text(fetchable.Name, new Style(Color.Grey)), new Text($"not fetched; tessera guest get {fetchable.Name}: {fetchable.Description}", new Style(Color.Grey)));
        host.OutConsole.Write(table);
        return ExitCode.Good;
    }

    private static string Description(GuestEntry entry)
    {
        string version = entry.KernelVersion is null ? "" : $"Linux {entry.KernelVersion}, ";
        string initrd = entry.InitrdPath is null ? "" : $", RAM disk {Mebibytes(entry.InitrdBytes)}";
        string disk = entry.RootDiskPath is null ? "" : $" and a root disk of {RootDiskRecipe.Bytes >> 30} GiB";
        return $"{version}{entry.KernelFormat}, kernel {Mebibytes(entry.KernelBytes)}{initrd}, {Mebibytes(entry.SizeBytes)} in all{disk}, in {entry.Folder}";
    }

    private static string Mebibytes(long bytes) => (bytes / (double)(1 << 20)).ToString("0.0", CultureInfo.InvariantCulture) + " MiB";

    /// <summary>Cancels when a signal asks to stop, until disposed.</summary>
    private sealed class RegisteredStop(WaitHandle handle, Action cancel) : IDisposable
    {
        private readonly RegisteredWaitHandle _registration =
            ThreadPool.RegisterWaitForSingleObject(handle, (_, _) => cancel(), null, Timeout.InfiniteTimeSpan, executeOnlyOnce: true);

        public void Dispose() => _registration.Unregister(null);
    }

    /// <summary>Steps as lines on standard error; a download's bytes rewrite one line on a terminal and are left out elsewhere.</summary>
    private sealed class ProgressLines(CliHost host) : IProgress<FetchProgress>
    {
        private readonly Lock _gate = new();
        private bool _open;

        public void Report(FetchProgress value)
        {
            lock (_gate)
            {
                bool bytes = value.TotalBytes > 0 && value.DoneBytes < value.TotalBytes;
                if (bytes && !host.ErrorIsTerminal)
                    return;
                string text = value.TotalBytes > 0 ? $"{value.Step}: {Mebibytes(value.DoneBytes)} of {Mebibytes(value.TotalBytes)}" : value.Step;
                host.Error.Write(_open ? $"\r{text,-70}" : text);
                _open = bytes;
                if (!bytes)
                    host.Error.WriteLine();
                host.Error.Flush();
            }
        }
    }
}

/// <summary>What `guest list --json` writes.</summary>
/// <param name="BuiltIn">Guests that need no files.</param>
/// <param name="Library">Guests of the library.</param>
internal sealed record GuestListing(IReadOnlyList<string> BuiltIn, IReadOnlyList<GuestEntry> Library);

/// <summary>Serialisation of <see cref="GuestListing"/>.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(GuestListing))]
internal sealed partial class GuestListingJson : JsonSerializerContext
{
    public static GuestListingJson Context { get; } = new(JsonForm.Options());
}
