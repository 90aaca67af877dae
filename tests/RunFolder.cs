using System.Security.Cryptography;
using System.Text.Json.Nodes;

namespace Tessera;

/// <summary>What runs leave in their folder, for comparing runs in virtual time.</summary>
internal static class RunFolder
{
    /// <summary>
    /// The files by name, those of subfolders too, disks and captures by their hash. Without the host's facts (docs/virtual-time.md lists them) and without the report, which shows them.
    /// </summary>
    public static SortedDictionary<string, string> Files(string folder)
    {
        SortedDictionary<string, string> files = [];
        foreach (string file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
        {
            string name = Path.GetRelativePath(folder, file);
            switch (Path.GetFileName(file))
            {
                case "report.html":
                    break;
                case "result.json":
                    files[name] = WithoutHost(File.ReadAllText(file));
                    break;
                default:
                    bool isText = Path.GetExtension(file) is not (".img" or ".pcapng");
                    files[name] = isText ? File.ReadAllText(file) : Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(file)));
                    break;
            }
        }

        return files;
    }

    /// <summary>Runs three times, the second time on a busy host: the same files are left.</summary>
    /// <param name="run">Runs it; told which time it is, from 1, and answers the files.</param>
    /// <returns>The files.</returns>
    public static SortedDictionary<string, string> SameThreeTimes(Func<int, SortedDictionary<string, string>> run)
    {
        SortedDictionary<string, string> first = run(1);
        bool isOver = false;
        Thread[] load = [.. Enumerable.Range(0, 4).Select(_ => new Thread(Spin))];
        foreach (Thread thread in load)
            thread.Start();
        SortedDictionary<string, string> second;
        try
        {
            second = run(2);
        }
        finally
        {
            Volatile.Write(ref isOver, true);
            foreach (Thread thread in load)
                thread.Join();
        }

        SortedDictionary<string, string> third = run(3);
        Assert.That(second, Is.EqualTo(first), "on a busy host");
        Assert.That(third, Is.EqualTo(first), "the third time");
        return first;

        void Spin()
        {
            while (!Volatile.Read(ref isOver))
                Thread.SpinWait(1000);
        }
    }

    private static string WithoutHost(string text)
    {
        JsonNode result = JsonNode.Parse(text)!;
        foreach (string key in (string[])["startedAt", "host", "engine"])
            result.AsObject().Remove(key);
        foreach (JsonNode? domain in result["domains"]!.AsArray())
            domain!["memory"]!.AsObject().Remove("residentBytes");
        return result.ToJsonString();
    }
}
