using Tessera.Cli.Guests;
using Tessera.Images;
using Tessera.Images.Tests.Support;

namespace Tessera.Cli.Tests.Guests;

[TestFixture]
internal sealed class GuestLibraryTests
{
    private string _base = "";
    private string _folder = "";
    private FakeDebian _debian = new();

    [SetUp]
    public void MakeFolder()
    {
        _base = Directory.CreateTempSubdirectory("tessera-guests-").FullName;
        _folder = Path.Combine(_base, "guests");
        _debian = new();
    }

    [TearDown]
    public void DropFolder() => Directory.Delete(_base, recursive: true);

    private GuestLibrary Library(bool mayUpdate = false, long freeBytes = 1L << 40) => new(_folder, _debian, mayUpdate, freeBytes: _ => freeBytes);

    private Task<GuestEntry> Get(GuestLibrary? library = null, string name = "debian", CancellationToken cancellation = default)
        => (library ?? Library()).GetAsync(name, new Steps(), cancellation);

    private string Refused(GuestLibrary? library = null, string name = "debian")
        => Assert.Throws<GuestException>(() => Get(library, name).GetAwaiter().GetResult())!.Message;

    private string[] Leftovers() => [.. Directory.GetFileSystemEntries(_folder).Select(p => Path.GetFileName(p)).Where(n => n != ".lock").Order(StringComparer.Ordinal)];

    private string KernelFile(byte[]? content = null)
    {
        string path = Path.Combine(_base, "vmlinux");
        File.WriteAllBytes(path, content ?? ElfBuilder.Linux().Build());
        return path;
    }

    [Test]
    public async Task A_fetched_guest_has_kernel_ram_disk_modules_and_sizes()
    {
        GuestEntry guest = await Get();

        Assert.Multiple(() =>
        {
            Assert.That(guest.Problem, Is.Null);
            Assert.That(guest.KernelVersion, Is.EqualTo($"{FakeDebian.Abi}-cloud-amd64"));
            Assert.That(guest.KernelFormat, Is.EqualTo("bzImage/gzip"));
            Assert.That(guest.Source, Does.StartWith($"linux-image-{FakeDebian.Abi}-cloud-amd64 "));
            Assert.That(guest.DefaultCommandLine, Does.Contain("console=hvc0"));
            Assert.That(guest.KernelPath, Does.Exist);
            Assert.That(guest.InitrdPath, Does.Exist);
            Assert.That(Path.Combine(guest.ModulesPath!, "kernel/net.ko"), Does.Exist);
            Assert.That(Path.Combine(guest.Folder, "config"), Does.Exist);
            Assert.That(guest.SizeBytes, Is.GreaterThan(guest.KernelBytes + guest.InitrdBytes + 1000));
            Assert.That(Leftovers(), Is.EqualTo(new[] { "debian" }));
        });
    }

    [Test]
    public async Task Packages_are_taken_at_the_version_that_was_verified()
    {
        await Get();

        Assert.That(_debian.Calls, Has.Some.EndsWith($"APT::Sandbox::User=root linux-image-{FakeDebian.Abi}-cloud-amd64={FakeDebian.Abi}+1"));
        Assert.That(_debian.Calls, Has.None.Contains("unsigned"));
    }

    [Test]
    public async Task Getting_a_current_guest_again_downloads_nothing()
    {
        await Get();
        _debian.Calls.Clear();

        await Get();

        Assert.That(_debian.Calls, Has.None.StartsWith("apt-get"));
    }

    [Test]
    public async Task A_guest_whose_ram_disk_was_lost_is_fetched_anew()
    {
        GuestEntry first = await Get();
        File.Delete(first.InitrdPath!);

        Assert.That(Library().List().Single().Problem, Does.Contain("initrd.img"));
        Assert.That((await Get()).InitrdPath, Does.Exist);
    }

    [Test]
    public async Task An_interrupted_fetch_keeps_the_guest_that_was_there()
    {
        await Get();
        string manifest = Path.Combine(_folder, "debian", "guest.json");
        await File.WriteAllTextAsync(manifest, (await File.ReadAllTextAsync(manifest)).Replace("fingerprint\": \"", "fingerprint\": \"old", StringComparison.Ordinal));
        using CancellationTokenSource source = new();
        _debian.BeforeCall = call =>
        {
            if (call.StartsWith("dpkg-deb", StringComparison.Ordinal))
                source.Cancel();
        };

        await Assert.CatchAsync<OperationCanceledException>(() => Get(cancellation: source.Token));

        Assert.That(Library().Find("debian")!.KernelPath, Does.Exist);
        Assert.That(Leftovers(), Is.EqualTo(new[] { "debian" }));
    }

    [Test]
    public async Task A_guest_moved_aside_by_a_process_that_died_is_put_back()
    {
        await Get();
        Directory.Move(Path.Combine(_folder, "debian"), Path.Combine(_folder, ".previous-debian"));
        Directory.CreateDirectory(Path.Combine(_folder, ".new-debian"));

        Assert.That(Library().Find("debian")?.Problem, Is.Null);
        Assert.That(Leftovers(), Is.EqualTo(new[] { "debian" }));
    }

    [Test]
    public async Task Without_a_network_a_guest_that_is_there_is_kept_and_the_reason_told()
    {
        await Get();
        _debian.ListsKnow = false;
        Steps steps = new();

        GuestEntry kept = await Library().GetAsync("debian", steps, default);

        Assert.That(kept.KernelPath, Does.Exist);
        Assert.That(steps.Texts, Has.Some.Contains("keeping").And.Contains("apt-get update"));
    }

    [TestCase("apt-cache")]
    [TestCase("apt-get")]
    [TestCase("dpkg-deb")]
    public void A_missing_tool_is_named_with_the_way_round_it(string tool)
    {
        _debian.Missing.Add(tool);

        Assert.That(Refused(), Does.Contain($"{tool} is not installed").And.Contain("tessera guest add"));
        Assert.That(Leftovers(), Is.Empty);
    }

    [TestCase("E: Failed to fetch http://deb/x  Temporary failure resolving 'deb'\nE: Unable to fetch some archives\n", "cannot be reached")]
    [TestCase("E: Failed to fetch http://deb/x  404  Not Found\n", "run apt-get update")]
    [TestCase("E: Write error - write (28: No space left on device)\n", "disk is full")]
    [TestCase("E: Something else\n", "Something else")]
    public void A_failed_download_says_why_and_what_helps(string error, string expected)
    {
        _debian.DownloadError = error;

        Assert.That(Refused(), Does.Contain(expected).And.Contain("could not be downloaded"));
        Assert.That(Leftovers(), Is.Empty);
    }

    [TestCase("a packagf", "SHA256")]
    [TestCase("short", "5 bytes came instead of 9")]
    public void A_package_that_is_not_what_the_list_says_is_not_used(string delivered, string expected)
    {
        _debian.Delivered = System.Text.Encoding.ASCII.GetBytes(delivered);

        Assert.That(Refused(), Does.Contain(expected));
        Assert.That(_debian.Calls, Has.None.StartsWith("dpkg-deb"));
    }

    [Test]
    public void Lists_without_the_package_are_updated_only_by_root()
    {
        _debian.ListsKnow = false;

        Assert.That(Refused(), Does.Contain("sudo apt-get update"));
        Assert.That(_debian.Calls, Has.None.Contains("update"));
        Assert.That(async () => await Get(Library(mayUpdate: true)), Throws.Nothing);
    }

    [Test]
    public void An_update_that_fails_gives_its_reason()
    {
        _debian.ListsKnow = _debian.ListsKnowAfterUpdate = false;

        Assert.That(Refused(Library(mayUpdate: true)), Does.Contain("even after apt-get update").And.Contain("Temporary failure resolving").And.Contain("check the network"));
    }

    [Test]
    public void Too_little_space_is_said_before_anything_is_downloaded()
    {
        Assert.That(Refused(Library(freeBytes: 1 << 20)), Does.Contain("1 MiB free").And.Contain("TESSERA_CACHE"));
        Assert.That(_debian.Calls, Has.None.StartsWith("apt-get"));
    }

    [Test]
    public void A_kernel_that_is_not_paravirtual_is_not_kept()
    {
        _debian.KernelIsParavirtual = false;

        Assert.Throws<ImageException>(() => Get().GetAwaiter().GetResult());
        Assert.That(Leftovers(), Is.Empty);
    }

    [Test]
    public void An_unknown_name_lists_the_known_ones()
        => Assert.That(Refused(name: "fedora"), Does.Contain("debian, debian-6.12").And.Contain("guest add"));

    [Test]
    public void A_second_fetch_at_the_same_time_is_refused()
    {
        string? second = null;
        _debian.BeforeCall = call => second ??= call.StartsWith("dpkg-deb", StringComparison.Ordinal) ? Refused(name: "debian-6.12") : null;

        Assert.That(async () => await Get(), Throws.Nothing);
        Assert.That(second, Does.Contain("another tessera"));
    }

    [Test]
    public void An_added_kernel_is_copied_and_found_again()
    {
        string kernel = KernelFile();

        GuestEntry added = Library().Add("my-kernel", kernel, kernel);
        File.Delete(kernel);

        GuestEntry found = Library().Find("my-kernel")!;
        Assert.That(found, Is.EqualTo(added));
        Assert.That((found.KernelFormat, found.DefaultCommandLine, found.Source), Is.EqualTo(("ELF", GuestCommandLine.Linux, kernel)));
        Assert.That(found.InitrdBytes, Is.EqualTo(found.KernelBytes));
    }

    [Test]
    public void A_kernel_of_another_system_gets_no_linux_command_line()
    {
        byte[] unikernel = new ElfBuilder().Load(0x10_0000, new byte[64], 0x1000).Note(1, 0x10_0000UL).Note(6, "mini\0").Build();

        Assert.That(Library().Add("mini", KernelFile(unikernel)).DefaultCommandLine, Is.Empty);
    }

    [Test]
    public void Adding_again_replaces_and_a_bad_replacement_leaves_the_first()
    {
        Library().Add("k", KernelFile());

        Assert.Throws<ImageException>(() => Library().Add("k", KernelFile([1, 2, 3])));
        Assert.Throws<GuestException>(() => Library().Add("k", KernelFile(), "/nonexistent/initrd"));

        Assert.That(Library().Find("k")!.InitrdPath, Is.Null);
        Assert.That(Library().Add("k", KernelFile(), KernelFile()).InitrdPath, Is.Not.Null);
        Assert.That(Leftovers(), Is.EqualTo(new[] { "k" }));
    }

    [TestCase("debian", "is fetched")]
    [TestCase("../up", "not a guest name")]
    [TestCase(".hidden", "not a guest name")]
    [TestCase("", "not a guest name")]
    public void A_name_that_cannot_be_given_is_refused(string name, string expected)
        => Assert.That(Assert.Throws<GuestException>(() => Library().Add(name, KernelFile()))!.Message, Does.Contain(expected));

    [Test]
    public void A_file_that_is_not_there_is_named()
        => Assert.That(Assert.Throws<GuestException>(() => Library().Add("k", "/nonexistent/vmlinux"))!.Message, Does.Contain("/nonexistent/vmlinux"));

    [TestCase("{}")]
    [TestCase("not json")]
    [TestCase("{\"schema\":\"tessera.guest/9\",\"name\":\"k\",\"kernel\":\"vmlinuz\",\"commandLine\":\"\",\"added\":\"2026-01-01T00:00:00Z\"}")]
    [TestCase("{\"schema\":\"tessera.guest/1\",\"name\":\"k\",\"kernel\":\"../b/vmlinuz\",\"commandLine\":\"\",\"added\":\"2026-01-01T00:00:00Z\"}")]
    [TestCase("{\"schema\":\"tessera.guest/1\",\"name\":\"k\",\"kernel\":\"/etc/passwd\",\"commandLine\":\"\",\"added\":\"2026-01-01T00:00:00Z\"}")]
    [TestCase("{\"schema\":\"tessera.guest/1\",\"name\":\"k\",\"kernel\":\"vmlinuz\",\"rootDisk\":\"/etc/passwd\",\"commandLine\":\"\",\"added\":\"2026-01-01T00:00:00Z\"}")]
    public void A_damaged_guest_is_listed_with_its_problem_and_spoils_no_other(string json)
    {
        Library().Add("a", KernelFile());
        Library().Add("b", KernelFile());
        File.WriteAllText(Path.Combine(_folder, "a", "guest.json"), json);

        IReadOnlyList<GuestEntry> list = Library().List();

        Assert.That(list.Select(g => (g.Name, g.Problem is null)), Is.EqualTo(new[] { ("a", false), ("b", true) }));
        Assert.That(Assert.Throws<GuestException>(() => Library().Find("a"))!.Message, Does.Contain("guest.json").And.Contain("again"));
    }

    [TestCase("kernel", "/etc/hostname")]
    [TestCase("kernel", "../b/vmlinuz")]
    [TestCase("kernel", "")]
    [TestCase("kernel", "..")]
    [TestCase("initrd", "../../secret")]
    [TestCase("modules", "/lib/modules")]
    [TestCase("rootDisk", "../b/vmlinuz")]
    [TestCase("kernel", "link")]
    public void A_guest_names_files_of_its_own_folder_only(string key, string name)
    {
        Library().Add("a", KernelFile());
        Library().Add("b", KernelFile());
        File.CreateSymbolicLink(Path.Combine(_folder, "a", "link"), "/etc/hostname");
        string manifest = Path.Combine(_folder, "a", "guest.json");
        System.Text.Json.Nodes.JsonNode json = System.Text.Json.Nodes.JsonNode.Parse(File.ReadAllText(manifest))!;
        json[key] = name;
        File.WriteAllText(manifest, json.ToJsonString());

        Assert.That(Assert.Throws<GuestException>(() => Library().Find("a"))!.Message, Does.Contain("guest.json").And.Contain($"\"{name}\"").And.Contain("again"));
        Assert.That(Library().Find("b")!.Problem, Is.Null);
    }

    [Test]
    public void A_guests_file_that_is_a_link_is_no_file_of_its_folder()
    {
        Library().Add("a", KernelFile());
        File.Delete(Path.Combine(_folder, "a", "vmlinuz"));
        File.CreateSymbolicLink(Path.Combine(_folder, "a", "vmlinuz"), KernelFile());

        Assert.That(Assert.Throws<GuestException>(() => Library().Find("a"))!.Message, Does.Contain("guest.json").And.Contain("links do not count"));
    }

    [Test]
    public void A_library_that_does_not_exist_is_empty()
    {
        GuestLibrary library = new(Path.Combine(_folder, "none"), _debian);

        Assert.That(library.List(), Is.Empty);
        Assert.That(library.Find("debian"), Is.Null);
    }

    [TestCase("/t", "/x", "/t/guests")]
    [TestCase(null, "/x", "/x/tessera/guests")]
    [TestCase("", "relative", "/h/.cache/tessera/guests")]
    [TestCase(null, null, "/h/.cache/tessera/guests")]
    public void The_library_is_where_the_environment_says(string? tessera, string? xdg, string expected)
        => Assert.That(GuestLibrary.DefaultFolder(name => name switch { "TESSERA_CACHE" => tessera, "XDG_CACHE_HOME" => xdg, "HOME" => "/h", _ => null }), Is.EqualTo(expected));

    private sealed class Steps : IProgress<GuestProgress>
    {
        public List<string> Texts { get; } = [];

        public void Report(GuestProgress value) => Texts.Add(value.Step);
    }
}
