using System.Globalization;
using System.Text;

namespace Tessera.Cli.Tests.Guests;

/// <summary>Reads a newc archive back, independently of the writer.</summary>
internal static class CpioReader
{
    internal sealed record Entry(string Path, uint Mode, uint Links, byte[] Data, uint Major, uint Minor, uint Inode);

    public static List<Entry> Read(byte[] archive)
    {
        List<Entry> entries = [];
        int at = 0;
        while (true)
        {
            Assert.That(at % 4, Is.Zero);
            Assert.That(Encoding.ASCII.GetString(archive, at, 6), Is.EqualTo("070701"));
            uint[] fields = [.. Enumerable.Range(0, 13).Select(i => uint.Parse(Encoding.ASCII.GetString(archive, at + 6 + i * 8, 8), NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
            (uint inode, uint mode, uint links, uint size, uint name) = (fields[0], fields[1], fields[4], fields[6], fields[11]);
            Assert.That((fields[2], fields[3], fields[5], fields[12]), Is.EqualTo((0U, 0U, 0U, 0U)), "owner, group, time and checksum are 0");
            string path = Encoding.UTF8.GetString(archive, at + 110, (int)name - 1);
            Assert.That(archive[at + 110 + (int)name - 1], Is.Zero);
            int data = Up(at + 110 + (int)name);
            at = Up(data + (int)size);
            if (path == "TRAILER!!!")
            {
                Assert.That(archive.Length % 512, Is.Zero);
                Assert.That(archive.AsSpan(at).ContainsAnyExcept((byte)0), Is.False);
                return entries;
            }
            entries.Add(new(path, mode, links, archive[data..(data + (int)size)], fields[9], fields[10], inode));
        }
    }

    private static int Up(int offset) => (offset + 3) & ~3;
}
