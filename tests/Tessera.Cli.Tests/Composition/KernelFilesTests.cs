using Tessera.Experiments.Planning;
using Tessera.Images;
using Tessera.Images.Tests.Support;
using Tessera.Lab.Folders;

namespace Tessera.Cli.Tests.Composition;

/// <summary>Files of kernels, read whole and unpacked once.</summary>
internal sealed class KernelFilesTests
{
    private string _file = null!;

    [SetUp]
    public void NameFile() => _file = Path.GetTempFileName();

    [TearDown]
    public void RemoveFile() => File.Delete(_file);

    [Test]
    public void Domains_of_one_kernel_share_what_was_unpacked()
    {
        File.WriteAllBytes(_file, Packer.BzImage(Packer.Payload("gzip", ElfBuilder.Linux().Build()), release: "6.1"));
        KernelFiles files = new();
        files.Begin(_file);
        KernelImage first = files.Get(_file);
        Assert.That(files.Get(_file), Is.SameAs(first));
        Assert.That(first.Format, Is.EqualTo("bzImage/gzip"));
    }

    [Test]
    public void What_is_wrong_with_a_kernel_is_said_when_it_is_wanted()
    {
        File.WriteAllText(_file, "no kernel");
        KernelFiles files = new();
        files.Begin(_file);
        files.Begin("/nonexistent/vmlinuz");
        Assert.Throws<ImageException>(() => files.Get(_file));
        Assert.That(() => files.Get("/nonexistent/vmlinuz"), Throws.InstanceOf<IOException>());
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(65_536)]
    [TestCase(1_000_000)]
    public void A_file_of_any_size_is_read_whole(int bytes)
    {
        byte[] contents = new byte[bytes];
        new Random(1).NextBytes(contents);
        File.WriteAllBytes(_file, contents);
        Assert.That(InputFile.Read(_file, 1_000_000), Is.EqualTo(contents));
    }

    [Test]
    public void A_file_of_more_bytes_than_its_kind_has_is_refused()
    {
        File.WriteAllBytes(_file, new byte[1001]);
        Assert.That(() => InputFile.Read(_file, 1000), Throws.InstanceOf<IOException>().With.Message.Contains(_file));
    }

    [Test]
    public void A_file_that_does_not_know_its_size_is_read_whole() =>
        Assert.That(System.Text.Encoding.ASCII.GetString(InputFile.Read("/proc/self/maps", InputFile.MostText)), Does.Contain("[stack]").And.EndsWith("\n"));
}
