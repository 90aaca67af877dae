using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Tessera.Guests.Tests;

/// <summary>Asks the C compiler what Xen's public headers say: each expression becomes a long.</summary>
internal static class XenHeaders
{
    private static readonly string[] Headers =
    [
        "xen", "event_channel", "sched", "vcpu", "memory", "version", "physdev", "callback", "features", "grant_table", "elfnote", "nmi", "io/console", "io/xs_wire",
        "io/xenbus", "io/blkif", "io/netif",
    ];

    /// <summary>Why the headers cannot be asked here; null when they can.</summary>
    public static string? WhyNot()
    {
        // CPATH is where the compiler looks too, and where what was fetched instead of installed lies.
        string[] folders = ["/usr/include", .. Folders("CPATH")];
        if (!folders.Any(folder => File.Exists(Path.Combine(folder, "xen", "xen.h"))))
            return "xen/xen.h is in no include folder: install libxen-dev";
        return Folders("PATH").Any(folder => File.Exists(Path.Combine(folder, "gcc"))) ? null : "gcc is not there: install gcc";

        static string[] Folders(string variable) => (Environment.GetEnvironmentVariable(variable) ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>The values of C expressions.</summary>
    public static IReadOnlyDictionary<string, long> Evaluate(IReadOnlyCollection<string> expressions)
    {
        string folder = Directory.CreateTempSubdirectory("tessera-xen-").FullName;
        try
        {
            StringBuilder source = new("#include <stdio.h>\n#include <stdint.h>\n#include <string.h>\n#include <stddef.h>\n");
            foreach (string header in Headers)
                source.Append(CultureInfo.InvariantCulture, $"#include <xen/{header}.h>\n");
            source.Append("int main(void) {\n");
            foreach (string expression in expressions)
                source.Append(CultureInfo.InvariantCulture, $"printf(\"%lld\\n\", (long long)({expression}));\n");
            source.Append("return 0; }\n");
            string file = Path.Combine(folder, "values.c"), program = Path.Combine(folder, "values");
            File.WriteAllText(file, source.ToString());
            Run("gcc", "-D__XEN_TOOLS__", "-w", "-o", program, file);
            long[] values = [.. Run(program).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => long.Parse(line, CultureInfo.InvariantCulture))];
            return expressions.Zip(values).ToDictionary(pair => pair.First, pair => pair.Second);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.That(process.ExitCode, Is.Zero, errors.Result);
        return output;
    }
}
