using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Parquet;
using Parquet.Schema;
using Tessera.Lab.Comparisons;
using Tessera.Lab.Exports;
using Tessera.Lab.Reports;
using Tessera.Lab.Tests.Reports;

namespace Tessera.Lab.Tests.Exports;

/// <summary>Results as tables for other programs.</summary>
internal sealed class ExportTests
{
    private static readonly string[] Names = ["one", "two, \"quoted\"", "sleeper"];

    [Test]
    public void The_page_on_exports_has_every_column()
    {
        using SampleRun run = SampleRun.Write(Names);
        using SampleComparison comparison = SampleComparison.Draw();
        string page = File.ReadAllText(Path.Combine(Root(), "docs", "export.md"));
        HashSet<string> dynamic = [.. comparison.Document.Factors.Select(factor => factor.Path), .. comparison.Document.Metrics.Select(metric => metric.Key)];
        Assert.Multiple(() =>
        {
            foreach (IGrouping<string, ExportedColumn> table in Exporter.Columns(run.Folder).Concat(Exporter.Columns(comparison.Folder)).GroupBy(column => column.Table))
            {
                string rows = string.Concat(table.Where(column => !dynamic.Contains(column.Name)).Select(column => $"| `{column.Name}` | {column.Meaning} |\n"));
                Assert.That(page, Does.Contain($"| `{table.Key}` | |\n|---|---|\n{rows}"));
            }
        });
    }

    [Test]
    public async Task Parquet_has_what_the_CSV_has([Values] bool ofComparison)
    {
        using SampleRun run = SampleRun.Write(Names);
        using SampleComparison comparison = SampleComparison.Draw();
        string folder = ofComparison ? comparison.Folder : run.Folder;
        IReadOnlyList<string> written = Exporter.Write(folder, notebook: false);
        string[] tables = [.. written.Where(name => name.EndsWith(".csv", StringComparison.Ordinal))];
        Assert.That(tables.Select(Path.GetFileNameWithoutExtension), Is.EqualTo(ofComparison ? new[] { "runs", "summaries", "verdicts" } : ["domains", "shares", "stints", "wakes"]));
        Assert.That(written, Has.Count.EqualTo(2 * tables.Length));
        foreach (string table in tables)
        {
            List<string[]> csv = Csv(await File.ReadAllTextAsync(Path.Combine(folder, table)));
            await using FileStream stream = File.OpenRead(Path.Combine(folder, Path.ChangeExtension(table, ".parquet")));
            await using ParquetReader reader = await ParquetReader.CreateAsync(stream);
            DataField[] fields = reader.Schema.DataFields;
            Assert.That(csv, Has.Count.GreaterThan(1), $"{table} has rows");
            Assert.That(fields.Select(field => field.Name), Is.EqualTo(csv[0]), table);
            string[][] columns = [.. fields.Select(_ => Array.Empty<string>())];
            for (int group = 0; group < reader.RowGroupCount; group++)
            {
                using ParquetRowGroupReader part = reader.OpenRowGroupReader(group);
                for (int index = 0; index < fields.Length; index++)
                    columns[index] = [.. columns[index], .. await Texts(part, fields[index])];
            }

            Assert.That(columns.Select(column => column.Length), Is.All.EqualTo(csv.Count - 1), table);
            for (int row = 1; row < csv.Count; row++)
                Assert.That(columns.Select(column => column[row - 1]), Is.EqualTo(csv[row]), $"{table}, row {row}");
        }
    }

    [Test]
    public void The_notebook_is_one_and_its_code_runs([Values] bool ofComparison)
    {
        using SampleRun run = SampleRun.Write(Names);
        using SampleComparison comparison = SampleComparison.Draw();
        string folder = ofComparison ? comparison.Folder : run.Folder;
        string file = Path.Combine(folder, Exporter.Write(folder, notebook: true)[^1]);
        using JsonDocument notebook = JsonDocument.Parse(File.ReadAllText(file));
        JsonElement[] cells = [.. notebook.RootElement.GetProperty("cells").EnumerateArray()];
        string code = string.Join('\n', cells.Where(cell => cell.GetProperty("cell_type").GetString() == "code").Select(cell => cell.GetProperty("source").GetString()));
        Assert.That((notebook.RootElement.GetProperty("nbformat").GetInt32(), cells.Select(cell => cell.GetProperty("id").GetString()).Distinct().Count()), Is.EqualTo((4, cells.Length)));
        (int exit, string error) = Python("import ast, sys; ast.parse(sys.stdin.read())", code, folder);
        if (exit == -1)
            Assert.Ignore("python3 is not installed.");
        Assert.That(exit, Is.Zero, error);
        (exit, error) = Python("import sys; exec(compile(sys.stdin.read(), 'notebook', 'exec'))", code, Path.GetDirectoryName(file)!);
        if (error.Contains("ModuleNotFoundError", StringComparison.Ordinal))
            Assert.Ignore("pandas or matplotlib is not installed (Debian: python3-pandas, python3-matplotlib); the notebook's code was only parsed.");
        Assert.That(exit, Is.Zero, error);
    }

    [Test]
    public void A_varied_path_does_not_take_the_name_of_another_column() => Assert.That(
        new[] { "scheduler", "domains.count" }.Select(path => FactorialDesign.ColumnOf(new Factor(path, ["1"]))),
        Is.EqualTo(new[] { "vary:scheduler", "domains.count" }));

    [Test]
    public void A_folder_without_results_is_named()
    {
        string folder = Directory.CreateTempSubdirectory("tessera-export-").FullName;
        Assert.That(() => Exporter.Write(folder, notebook: false), Throws.TypeOf<ReportException>().With.Message.StartsWith($"{folder}: has neither result.json nor comparison.json."));
        Directory.Delete(folder);
    }

    private static (int Exit, string Error) Python(string script, string input, string folder)
    {
        try
        {
            ProcessStartInfo start = new(File.Exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3")
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                WorkingDirectory = folder,
            };
            start.Environment["MPLBACKEND"] = "Agg";
            start.ArgumentList.Add("-c");
            start.ArgumentList.Add(script);
            using Process python = Process.Start(start)!;
            Task<string> output = python.StandardOutput.ReadToEndAsync(), error = python.StandardError.ReadToEndAsync();
            python.StandardInput.Write(input);
            python.StandardInput.Close();
            python.WaitForExit();
            return (python.ExitCode, error.Result);
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return (-1, "");
        }
    }

    private static async Task<IEnumerable<string>> Texts(ParquetRowGroupReader part, DataField field)
    {
        int rows = (int)part.RowCount;
        if (field.ClrType == typeof(string) || field.ClrType == typeof(ReadOnlyMemory<char>))
        {
            string?[] texts = new string?[rows];
            await part.ReadAsync(field, texts);
            return texts.Select(text => text ?? "");
        }

        if (field.ClrType == typeof(double))
            return (await Values<double>()).Select(value => value?.ToString("R", CultureInfo.InvariantCulture) ?? "");
        if (field.ClrType == typeof(long))
            return (await Values<long>()).Select(value => value?.ToString(CultureInfo.InvariantCulture) ?? "");
        return (await Values<bool>()).Select(value => value is { } flag ? flag ? "1" : "0" : "");

        async Task<T?[]> Values<T>()
            where T : struct
        {
            T?[] values = new T?[rows];
            await part.ReadAsync<T>(field, values);
            return values;
        }
    }

    /// <summary>RFC 4180, in short.</summary>
    private static List<string[]> Csv(string text)
    {
        List<string[]> rows = [];
        List<string> row = [];
        System.Text.StringBuilder field = new();
        bool quoted = false;
        for (int at = 0; at < text.Length; at++)
        {
            char c = text[at];
            if (quoted && c == '"' && at + 1 < text.Length && text[at + 1] == '"')
                field.Append(text[++at]);
            else if (c == '"')
                quoted = !quoted;
            else if (!quoted && c is ',' or '\n')
            {
                row.Add(field.ToString().TrimEnd('\r'));
                field.Clear();
                if (c == '\n')
                {
                    rows.Add([.. row]);
                    row.Clear();
                }
            }
            else
            {
                field.Append(c);
            }
        }

        return rows;
    }

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder!, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder!;
    }
}
