using FsCheck;
using FsCheck.Fluent;
using Tessera.Lab.Folders;

namespace Tessera.Lab.Tests.Folders;

/// <summary>A folder full of traps: nothing outside it is read, written or removed.</summary>
internal sealed class UntrustedFolderTests
{
    private string _outside = "";
    private string _inside = "";

    [SetUp]
    public void Make()
    {
        _outside = Directory.CreateTempSubdirectory("tessera-outside-").FullName;
        _inside = Path.Combine(_outside, "folder");
        Directory.CreateDirectory(_inside);
        File.WriteAllText(Path.Combine(_outside, "secret"), "secret");
        Directory.CreateDirectory(Path.Combine(_outside, "other"));
        File.WriteAllText(Path.Combine(_outside, "other", "kept"), "kept");
    }

    [TearDown]
    public void Remove() => Directory.Delete(_outside, recursive: true);

    [Test]
    public void A_file_is_renamed_into_place_and_no_link_is_followed()
    {
        Link("file", "../secret");
        Link("file.new", "../secret");
        Link("log", "../secret");
        UntrustedFolder folder = new(_inside);
        Assert.Multiple(() =>
        {
            Assert.That(() => folder.ReadBytes("file"), Throws.InstanceOf<FolderException>().With.Message.Contains("symbolic link"));
            Assert.That(folder.HasFile("file"), Is.False);
        });
        folder.WriteText("file", "mine");
        using (FileStream log = folder.Create("log"))
            log.WriteByte((byte)'x');
        Assert.Multiple(() =>
        {
            Assert.That(folder.ReadBytes("file"), Is.EqualTo("mine"u8.ToArray()));
            Assert.That(folder.ReadBytes("log"), Is.EqualTo("x"u8.ToArray()));
            Assert.That(File.Exists(Path.Combine(_inside, "file.new")), Is.False);
            Assert.That(File.ReadAllText(Path.Combine(_outside, "secret")), Is.EqualTo("secret"));
        });
    }

    [Test]
    public void A_file_that_could_not_be_written_leaves_what_was_there()
    {
        UntrustedFolder folder = new(_inside);
        folder.WriteText("file", "first");
        Assert.That(() => folder.WriteText("file", _ => throw new IOException("full")), Throws.InstanceOf<IOException>());
        Assert.Multiple(() =>
        {
            Assert.That(folder.ReadBytes("file"), Is.EqualTo("first"u8.ToArray()));
            Assert.That(Directory.GetFiles(_inside), Has.Length.EqualTo(1));
        });
    }

    [Test]
    public void Folders_that_are_links_are_neither_entered_nor_emptied()
    {
        Link("runs", "../other");
        UntrustedFolder folder = new(_inside);
        Assert.Multiple(() =>
        {
            Assert.That(() => folder.WriteText("runs/kept", "mine"), Throws.InstanceOf<FolderException>());
            Assert.That(() => folder.MakeFolder("runs"), Throws.InstanceOf<FolderException>());
            Assert.That(() => folder.RemoveFolder("runs/kept"), Throws.InstanceOf<FolderException>());
            Assert.That(folder.HasFolder("runs"), Is.False);
            Assert.That(folder.FoldersOf("runs"), Is.Empty);
        });
        folder.RemoveFolder("runs");
        folder.MakeFolder("runs/1");
        Link("runs/1/link", "../../../other");
        Link("runs/2", "../../other");
        Assert.That(folder.FoldersOf("runs"), Is.EqualTo(new[] { "1" }));
        folder.RemoveFolder("runs");
        Assert.Multiple(() =>
        {
            Assert.That(Directory.Exists(Path.Combine(_inside, "runs")), Is.False);
            Assert.That(File.ReadAllText(Path.Combine(_outside, "other", "kept")), Is.EqualTo("kept"));
        });
    }

    [TestCase("/etc/passwd")]
    [TestCase("../secret")]
    [TestCase("a/../../secret")]
    [TestCase("")]
    [TestCase("a//b")]
    [TestCase(".")]
    [TestCase("a\0b")]
    public void A_path_that_leads_out_is_refused(string relative)
    {
        UntrustedFolder folder = new(_inside);
        Assert.Multiple(() =>
        {
            Assert.That(() => folder.ReadBytes(relative), Throws.InstanceOf<FolderException>());
            Assert.That(() => folder.WriteText(relative, "mine"), Throws.InstanceOf<FolderException>());
            Assert.That(() => folder.RemoveFolder(relative), Throws.InstanceOf<FolderException>());
            Assert.That(folder.HasFile(relative), Is.False);
        });
    }

    [Test]
    public void Whatever_is_called_below_is_below() => Check.QuickThrowOnFailure(Prop.ForAll<string>(ArbMap.Default.ArbFor<string>(), text =>
        text is null || !UntrustedFolder.IsBelow(text) || Path.GetFullPath(Path.Combine(_inside, text)).StartsWith(_inside + "/", StringComparison.Ordinal)));

    private void Link(string name, string target) => File.CreateSymbolicLink(Path.Combine(_inside, name), target);
}
