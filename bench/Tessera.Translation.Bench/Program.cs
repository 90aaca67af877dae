using System.Globalization;
using Tessera.Images;
using Tessera.Plugins.Cpu.Software;
using Tessera.Plugins.Cpu.Software.Translation;
using Tessera.Translation.Bench;
using Tmds.Linux;

const string usage = """
    usage: Tessera.Translation.Bench [--rounds N] [KERNEL]
               what translating all code costs that a kernel's text can reach: time, and memory (the library's debian unless a kernel's file is named)
    """;
const int WarmUps = 4;
List<string> words = [.. args];
int rounds = 9;
int option = words.IndexOf("--rounds");
if (option >= 0)
{
    if (option + 1 >= words.Count || !int.TryParse(words[option + 1], NumberStyles.None, CultureInfo.InvariantCulture, out rounds) || rounds < 1)
    {
        Console.Error.WriteLine(usage);
        return 2;
    }

    words.RemoveRange(option, 2);
}

string cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } set ? set : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
string path = words.Count > 0 ? words[0] : Path.Combine(cache, "tessera", "guests", "debian", "vmlinuz");
if (words.Count > 1 || !File.Exists(path))
{
    Console.Error.WriteLine(words.Count > 1 ? usage : $"no kernel {path}; `./tessera guest get debian` fetches one");
    return 2;
}

KernelText text = new(KernelImage.Load(File.ReadAllBytes(path), path));
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{path}: {text.Blocks.Count:N0} blocks begin in {text.CodeBytes:N0} bytes of code"));
foreach (bool plain in (bool[])[false, true])
{
    List<Translated> found = [];
    for (int round = -WarmUps; round < rounds; round++)
    {
        Translated translated = Translated.All(text, HostFeatures.Probe(plain));
        if (round == -WarmUps)
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(plain ? "plain" : "usual")}: {translated.Instructions:N0} instructions of {translated.GuestBytes:N0} bytes become {translated.HostBytes:N0}; the first time {translated.PerInstruction:F3} us each"));
        if (round >= 0)
            found.Add(translated);
    }

    double[] times = [.. found.Select(one => one.PerInstruction).Order()];
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  warm: {times[times.Length / 2]:F3} us an instruction ({times[0]:F3} to {times[^1]:F3}, {rounds} rounds; goal 0.6)"));
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  code: {found[0].HostBytes / (double)found[0].GuestBytes:F2} bytes for a byte that is translated, {found[0].HostBytes / (double)text.CodeBytes:F2} for a byte of the text, where blocks overlap (goal 8)"));
}

return 0;

/// <summary>What translating cost.</summary>
internal readonly record struct Translated(long Instructions, long GuestBytes, long HostBytes, double PerInstruction)
{
    /// <summary>Translates every block anew.</summary>
    public static unsafe Translated All(KernelText text, HostFeatures features)
    {
        // SAFETY: pages of the text, whose memory goes on for a page behind it.
        long instructions = 0, guestBytes = 0, hostBytes = 0, nanoseconds = 0;
        int next = 0;
        while (next < text.Blocks.Count)
        {
            using Translator translator = new(features);
            PageCode?[] pages = new PageCode?[(text.Blocks.Max() / KernelText.PageBytes) + 2];
            PageCode PageOf(int page) => pages[page] ??= translator.PageWith(text.Start + ((nint)page * KernelText.PageBytes), out _);
            long begun = ThreadNanoseconds();
            for (; next < text.Blocks.Count && !translator.IsFull; next++)
            {
                int page = text.Blocks[next] / KernelText.PageBytes, offset = text.Blocks[next] % KernelText.PageBytes;
                if (translator.Translate(PageOf(page), offset, CodeMode.Long, out _) == PageCode.Crossing)
                    _ = translator.TranslateCrossing(PageOf(page), PageOf(page + 1), offset, CodeMode.Long, out _);
            }

            nanoseconds += ThreadNanoseconds() - begun;
            instructions += translator.Written.Instructions;
            guestBytes += translator.Written.GuestBytes;
            hostBytes += translator.Written.Bytes;
        }

        return new Translated(instructions, guestBytes, hostBytes, nanoseconds / 1e3 / instructions);
    }

    /// <summary>What this thread has had of a processor: others on the host do not count.</summary>
    private static unsafe long ThreadNanoseconds()
    {
        // SAFETY: a local.
        const int SysClockGetTime = 228;
        const int ThreadCpuTime = 3;
        timespec time;
        _ = LibC.syscall(SysClockGetTime, ThreadCpuTime, &time);
        return ((long)time.tv_sec * 1_000_000_000) + (long)time.tv_nsec;
    }
}
