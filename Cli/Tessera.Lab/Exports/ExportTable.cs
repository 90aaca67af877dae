using System.Globalization;
using Parquet;
using Parquet.Schema;

namespace Tessera.Lab.Exports;

/// <summary>A table for other programs: rows by named and typed columns, as CSV (RFC 4180) and as Parquet.</summary>
internal abstract class ExportTable(string name)
{
    /// <summary>Its name, and its files'.</summary>
    public string Name { get; } = name;

    /// <summary>Its columns.</summary>
    public abstract IEnumerable<ExportedColumn> Documented { get; }

    /// <summary>Writes it as CSV: a heading, then a line a row; true and false are 1 and 0, what does not apply is empty.</summary>
    public abstract void WriteCsv(TextWriter writer);

    /// <summary>Writes it as Parquet.</summary>
    public abstract void WriteParquet(Stream stream);
}

/// <inheritdoc/>
internal sealed class ExportTable<T>(string name, IReadOnlyList<Column<T>> columns, IReadOnlyList<T> rows) : ExportTable(name)
{
    /// <summary>Rows that a reader takes at once.</summary>
    private const int GroupRows = 1 << 17;

    /// <inheritdoc/>
    public override IEnumerable<ExportedColumn> Documented => columns.Select(column => new ExportedColumn(Name, column.Name, column.Meaning));

    /// <inheritdoc/>
    public override void WriteCsv(TextWriter writer)
    {
        writer.Write(string.Join(',', columns.Select(column => Field(column.Name))) + "\r\n");
        foreach (T row in rows)
            writer.Write(string.Join(',', columns.Select(column => Field(Text(column.Value(row))))) + "\r\n");
    }

    /// <inheritdoc/>
    public override void WriteParquet(Stream stream) => WriteAsync(stream).GetAwaiter().GetResult();

    private async Task WriteAsync(Stream stream)
    {
        DataField[] fields = [.. columns.Select(column => FieldOf(column.Name, column.Kind))];
        await using ParquetWriter writer = await ParquetWriter.CreateAsync(new ParquetSchema(fields), stream).ConfigureAwait(false);
        for (int from = 0; from < Math.Max(1, rows.Count); from += GroupRows)
        {
            T[] part = [.. rows.Skip(from).Take(GroupRows)];
            using ParquetRowGroupWriter group = writer.CreateRowGroup();
            for (int index = 0; index < fields.Length; index++)
            {
                Func<T, object?> value = columns[index].Value;
                Task written = columns[index].Kind switch
                {
                    ColumnKind.Text => group.WriteAsync(fields[index], (string[])[.. part.Select(row => (string)value(row)!)]),
                    ColumnKind.Number => group.WriteAsync<double>(fields[index], Values<double>(part, value)),
                    ColumnKind.Count => group.WriteAsync<long>(fields[index], Values<long>(part, value)),
                    _ => group.WriteAsync<bool>(fields[index], Values<bool>(part, value)),
                };
                await written.ConfigureAwait(false);
            }
        }
    }

    private static ReadOnlyMemory<TValue?> Values<TValue>(T[] part, Func<T, object?> value)
        where TValue : struct => (TValue?[])[.. part.Select(row => (TValue?)value(row))];

    private static DataField FieldOf(string name, ColumnKind kind) => kind switch
    {
        ColumnKind.Text => new DataField<string>(name),
        ColumnKind.Number => new DataField<double?>(name),
        ColumnKind.Count => new DataField<long?>(name),
        _ => new DataField<bool?>(name),
    };

    private static string Text(object? value) => value switch
    {
        null => "",
        bool flag => flag ? "1" : "0",
        double number => number.ToString("R", CultureInfo.InvariantCulture),
        _ => string.Create(CultureInfo.InvariantCulture, $"{value}"),
    };

    private static string Field(string text) =>
        text.AsSpan().IndexOfAny(",\"\r\n") < 0 ? text : $"\"{text.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
}
