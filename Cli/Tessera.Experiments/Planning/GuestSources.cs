using Tessera.Experiments.Configuration;
using Tessera.GuestLibrary;
using Tessera.Guests;
using Tessera.Hosting;
using Tessera.Images;
using Tessera.Lab.Folders;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>What a domain boots.</summary>
/// <param name="Label">The guest's name or the kernel's file.</param>
/// <param name="Image">The kernel.</param>
/// <param name="Initrd">The initial RAM disk; empty for none.</param>
/// <param name="CommandLine">The whole command line.</param>
/// <param name="DefaultMemory">What it gets unless the configuration says otherwise.</param>
/// <param name="Options">A built-in guest's options record; null for others.</param>
/// <param name="SpeaksWhenUp">Whether it writes a line once user space runs.</param>
/// <param name="Builtin">Which built-in guest it is; none for others.</param>
public sealed record GuestChoice(
    string Label, KernelImage Image, ReadOnlyMemory<byte> Initrd, string CommandLine, ByteSize DefaultMemory, object? Options, bool SpeaksWhenUp, GuestKind Builtin = GuestKind.None);

/// <summary>Finds what a domain boots: a built-in guest, one of the library, or files.</summary>
public sealed class GuestSources(Library library)
{
    private static readonly ByteSize KernelMemory = new(256L << 20);

    /// <summary>Names that would be found now, for suggestions.</summary>
    public IReadOnlyList<string> Names => [.. BuiltinGuests.Names, .. library.List().Select(guest => guest.Name)];

    /// <summary>A library guest's root disk; null when it has none or is not there.</summary>
    public string? RootDiskOf(string name) => library.Find(name)?.RootDiskPath;

    /// <summary>Begins to read and unpack the kernels that an experiment names, on other threads: it takes as long as loading the plugins.</summary>
    public KernelFiles Begin(Experiment experiment)
    {
        KernelFiles files = new();
        foreach (string name in experiment.Domains.Select(domain => domain.Guest).OfType<string>().Distinct())
        {
            try
            {
                if (BuiltinGuests.Find(name) is null && library.Find(name) is { } entry)
                    files.Begin(entry.KernelPath);
            }
            catch (Exception e) when (IsGuestsFault(e))
            {
                // Said with the domain's place when it is resolved.
            }
        }

        foreach (string kernel in experiment.Domains.Select(domain => domain.Kernel).OfType<string>())
            files.Begin(kernel);
        return files;
    }

    /// <summary>Loads a domain's guest; adds errors and answers null when there is something wrong with it. What the checks of the configuration found is not said again.</summary>
    public GuestChoice? Resolve(Lookup lookup, DomainSettings domain, KernelFiles files)
    {
        if (domain.Guest is null == domain.Kernel is null || !(Exists(domain.Kernel) && Exists(domain.Initrd)))
            return null;
        try
        {
            if (domain.Kernel is { } kernel)
                return FromFiles(files, Path.GetFileName(kernel), kernel, domain.Initrd, domain.Cmdline ?? "");
            return BuiltinGuests.Find(domain.Guest!) is { } builtin
                ? FromBuiltin(builtin, domain, lookup)
                : FromLibrary(files, domain, lookup.Errors);
        }
        catch (Exception e) when (IsGuestsFault(e))
        {
            domain.Fail(lookup.Errors, domain.Kernel is null ? nameof(domain.Guest) : nameof(domain.Kernel), e.Message, "");
            return null;
        }
    }

    private static bool IsGuestsFault(Exception e) => e is ImageException or GuestException or IOException or UnauthorizedAccessException;

    /// <summary>Whether there is something of this name; that it is no file is said when it is read.</summary>
    private static bool Exists(string? file) => file is null || Path.Exists(file);

    private static GuestChoice FromFiles(KernelFiles files, string label, string kernel, string? initrd, string commandLine) => new(
        label,
        files.Get(kernel),
        initrd is null ? default : InputFile.Read(initrd, InputFile.MostImage),
        commandLine,
        KernelMemory,
        null,
        SpeaksWhenUp: true);

    private static GuestChoice? FromBuiltin(BuiltinGuest builtin, DomainSettings domain, Lookup lookup)
    {
        List<ConfigurationError> errors = lookup.Errors;
        int before = errors.Count;
        domain.FailIf(domain.Initrd is not null, errors, nameof(domain.Initrd),
            $"The built-in guest \"{builtin.Name}\" takes no initial RAM disk.", "Leave it out.");
        domain.FailIf(domain.Cmdline is not null, errors, nameof(domain.Cmdline),
            $"The built-in guest \"{builtin.Name}\" reads no command line.", "Its options go into \"guestOptions\".");
        domain.FailIf(domain.Script.Count > 0, errors, nameof(domain.Script),
            $"The built-in guest \"{builtin.Name}\" has no script support.", "Leave it out, or take a fetched guest (tessera guest get).");
        domain.FailIf(domain.Memory?.Bytes < BuiltinGuests.LeastMemoryBytes, errors, nameof(domain.Memory),
            $"The built-in guest \"{builtin.Name}\" does not fit into {domain.Memory}.",
            $"Give it at least {new ByteSize(BuiltinGuests.LeastMemoryBytes)}.");
        object? options = lookup.Bind(builtin.OptionsType, domain.GuestOptions, domain.PathOf(nameof(domain.GuestOptions)));
        return errors.Count > before
            ? null
            : new GuestChoice(
                builtin.Name, KernelImage.Load(builtin.Build(options), builtin.Name), default, "", new ByteSize(BuiltinGuests.LeastMemoryBytes), options, SpeaksWhenUp: false, builtin.Kind);
    }

    private GuestChoice? FromLibrary(KernelFiles files, DomainSettings domain, List<ConfigurationError> errors)
    {
        if (library.Find(domain.Guest!) is not { } entry)
        {
            string cure = GuestCatalogue.All.Any(guest => guest.Name == domain.Guest)
                ? $"Fetch it first: tessera guest get {domain.Guest}"
                : Suggestion.Nearest(domain.Guest!, [.. Names, .. GuestCatalogue.All.Select(guest => guest.Name)]) is { } nearest
                    ? $"Did you mean \"{nearest}\"?"
                    : $"Known are: {string.Join(", ", Names)}. Others: tessera guest get, tessera guest add.";
            domain.Fail(errors, nameof(domain.Guest), $"There is no guest \"{domain.Guest}\".", cure);
            return null;
        }

        domain.FailIf(domain.GuestOptions is not null, errors, nameof(domain.GuestOptions),
            $"The guest \"{entry.Name}\" is a kernel and has no options.", "Put it on its \"cmdline\".");
        string script = domain.Script.Count == 0 ? "" : GuestInit.ExecArgument(string.Join('\n', domain.Script));
        string commandLine = string.Join(' ', new[] { entry.DefaultCommandLine, domain.Cmdline ?? "", script }.Where(part => part.Length > 0));
        return FromFiles(files, entry.Name, entry.KernelPath, domain.Initrd ?? entry.InitrdPath, commandLine);
    }
}
