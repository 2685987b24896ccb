"""A container of Azure Blob Storage (https://learn.microsoft.com/rest/api/storageservices)."""

from azure.core.credentials_async import AsyncTokenCredential
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import ContainerClient

_JSON = ContentSettings(content_type="application/json")


class BlobContainer:
    """The container at `url`, such as `https://account.blob.core.windows.net/tenants`, reached with
    the credential, or with the shared access signature at the end of the URL. The caller closes the
    credential."""

    def __init__(self, url: str, credential: AsyncTokenCredential | None) -> None:
        self._client = ContainerClient.from_container_url(url, credential)

    async def put(self, name: str, content: bytes) -> None:
        """Write a blob; the account's settings decide whether older versions are kept. Raises
        AzureError."""
        await self._client.upload_blob(
            name, content, overwrite=True, content_settings=_JSON, max_concurrency=1
        )

    async def close(self) -> None:
        """Release the connections."""
        await self._client.close()
