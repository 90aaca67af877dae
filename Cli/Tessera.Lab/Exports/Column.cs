namespace Tessera.Lab.Exports;

/// <summary>What a column of an exported table holds.</summary>
internal enum ColumnKind
{
    /// <summary>Text.</summary>
    Text,

    /// <summary>A number with a fraction, 64 bits.</summary>
    Number,

    /// <summary>A whole number, 64 bits.</summary>
    Count,

    /// <summary>True or false.</summary>
    Flag,
}

/// <summary>A column of an exported table. A value that does not apply is null.</summary>
/// <typeparam name="T">What a row is made of.</typeparam>
/// <param name="Name">Its name.</param>
/// <param name="Kind">What it holds.</param>
/// <param name="Meaning">What it is, with its unit.</param>
/// <param name="Value">A row's value: a string, double, long or bool, as the kind says, or null.</param>
internal sealed record Column<T>(string Name, ColumnKind Kind, string Meaning, Func<T, object?> Value);

/// <summary>A column's name and meaning, for the page that documents them.</summary>
/// <param name="Table">The table's name.</param>
/// <param name="Name">The column's.</param>
/// <param name="Meaning">What it is.</param>
public sealed record ExportedColumn(string Table, string Name, string Meaning);
