using System.Text;
using FsCheck;
using FsCheck.Fluent;
using Tessera.GuestLibrary;

namespace Tessera.Cli.Tests.Guests;

[TestFixture]
internal sealed class CpioWriterTests
{
    private static byte[] Written(Action<CpioWriter> write)
    {
        using MemoryStream stream = new();
        CpioWriter cpio = new(stream);
        write(cpio);
        cpio.Finish();
        return stream.ToArray();
    }

    [Test]
    public void Each_kind_of_entry_is_read_back_with_its_mode_and_content()
    {
        List<CpioReader.Entry> entries = CpioReader.Read(Written(cpio =>
        {
            cpio.File("init", "#!/bin/sh\n"u8, executable: true);
            cpio.File("etc/inittab", "x"u8);
            cpio.Symlink("bin/sh", "/bin/busybox");
            cpio.CharacterDevice("dev/console", 5, 1);
        }));

        Assert.Multiple(() =>
        {
            Assert.That(entries.Select(e => $"{e.Path} {Convert.ToString(e.Mode, 8)}"), Is.EqualTo(new[]
            {
                "init 100755", "etc 40755", "etc/inittab 100644", "bin 40755", "bin/sh 120777", "dev 40755", "dev/console 20600",
            }));
            Assert.That(Encoding.UTF8.GetString(entries[4].Data), Is.EqualTo("/bin/busybox"));
            Assert.That((entries[6].Major, entries[6].Minor), Is.EqualTo((5U, 1U)));
            Assert.That(entries.Select(e => e.Inode), Is.Unique);
        });
    }

    [Test]
    public void Directories_above_an_entry_come_once_and_before_it()
    {
        List<CpioReader.Entry> entries = CpioReader.Read(Written(cpio =>
        {
            cpio.File("a/b/c/one", []);
            cpio.File("a/b/two", []);
            cpio.Directory("a/b");
        }));

        Assert.That(entries.Select(e => e.Path), Is.EqualTo(new[] { "a", "a/b", "a/b/c", "a/b/c/one", "a/b/two" }));
    }

    [TestCase("")]
    [TestCase("/bin/sh")]
    public void A_path_that_is_not_relative_is_refused(string path)
        => Assert.Throws<ArgumentException>(() => Written(cpio => cpio.File(path, [])));

    [Test]
    public void Any_content_under_any_name_length_is_read_back()
    {
        Property property = Prop.ForAll<(byte Length, byte[] Data)[]>(files =>
        {
            List<CpioReader.Entry> entries = CpioReader.Read(Written(cpio =>
            {
                for (int i = 0; i < files.Length; i++)
                    cpio.File($"{new string('n', files[i].Length)}{i}", files[i].Data);
            }));
            return entries.Select(e => e.Data).Zip(files.Select(f => f.Data)).All(p => p.First.SequenceEqual(p.Second)) && entries.Count == files.Length;
        });
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(200), property);
    }
}
