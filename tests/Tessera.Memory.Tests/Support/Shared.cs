// What these tests share with the conformance suite of MMUs.
global using Tessera.Sdk.Conformance.Memory;
global using Tree = Tessera.Sdk.Conformance.Memory.BootTables;
