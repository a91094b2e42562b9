"""Microsoft's own clients read a tenant: msal signs in, msgraph-sdk lists and downloads.

Prints what it found as JSON: users, and of the one named by argv[1] folders, messages and files
with digests. Knows nothing of any simulator: addresses are the SDK's own, the way there is
HTTPS_PROXY.
"""

import asyncio
import hashlib
import json
import os
import sys
import time

import msal
from azure.core.credentials import AccessToken
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.models.mail_search_folder import MailSearchFolder
from msgraph.generated.users.item.messages.messages_request_builder import MessagesRequestBuilder


class Credential:
    def __init__(self):
        self.app = msal.ConfidentialClientApplication(
            os.environ["TAR365_CLIENT_ID"],
            authority="https://login.microsoftonline.com/" + os.environ["TAR365_TENANT_ID"],
            client_credential=os.environ["TAR365_CLIENT_SECRET"],
        )

    def get_token(self, *scopes, **_):
        answer = self.app.acquire_token_for_client(scopes=list(scopes))
        if "access_token" not in answer:
            sys.exit(f"no token: {answer}")
        return AccessToken(answer["access_token"], int(time.time()) + answer["expires_in"])


async def pages(builder, configuration=None):
    """All rows of a collection, and how many pages it took."""
    page, rows, count = await builder.get(request_configuration=configuration), [], 1
    rows += page.value
    # The link has the query; preferences are asked for again.
    further = configuration and RequestConfiguration(headers=configuration.headers)
    while page.odata_next_link:
        page = await builder.with_url(page.odata_next_link).get(request_configuration=further)
        rows += page.value
        count += 1
    return rows, count


def is_search(folder):
    return isinstance(folder, MailSearchFolder)


def digest(content):
    return hashlib.sha256(content).hexdigest()


async def folders_below(user, folder):
    children, _ = await pages(user.mail_folders.by_mail_folder_id(folder.id).child_folders)
    found = [folder]
    for child in children:
        found += await folders_below(user, child)
    return found


async def files_below(drive, item, path):
    children, _ = await pages(drive.items.by_drive_item_id(item).children)
    found = {}
    for child in children:
        here = f"{path}{child.name}"
        if child.remote_item or child.package or child.malware:
            continue
        if child.folder:
            found |= await files_below(drive, child.id, here + "/")
        elif child.file:
            content = await drive.items.by_drive_item_id(child.id).content.get() or b""
            assert len(content) == child.size, here
            found[here] = digest(content)
    return found


async def main(upn):
    graph = GraphServiceClient(Credential(), ["https://graph.microsoft.com/.default"])
    users, _ = await pages(graph.users)
    user = graph.users.by_user_id(next(u.id for u in users if u.user_principal_name == upn))
    top, _ = await pages(user.mail_folders)
    folders = [await user.mail_folders.by_mail_folder_id("msgfolderroot").get()]
    for folder in top:
        folders += await folders_below(user, folder)

    query = MessagesRequestBuilder.MessagesRequestBuilderGetQueryParameters(
        select=["subject", "receivedDateTime", "isRead", "internetMessageId"], top=7
    )
    configuration = RequestConfiguration(query_parameters=query)
    configuration.headers.add("Prefer", 'IdType="ImmutableId"')
    messages, page_count = await pages(user.messages, configuration)
    mails = {}
    for message in messages:
        content = await user.messages.by_message_id(message.id).content.get()
        mails[message.id] = {
            "sha256": digest(content),
            "subject": message.subject,
            "isRead": message.is_read,
            "received": message.received_date_time and message.received_date_time.isoformat(),
        }

    drive = await user.drive.get()
    drive_client = graph.drives.by_drive_id(drive.id)
    root = await drive_client.root.get()
    print(
        json.dumps(
            {
                "users": {u.id: u.user_principal_name for u in users},
                "folders": {f.id: f.display_name for f in folders if not is_search(f)},
                "pages": page_count,
                "mails": mails,
                "files": await files_below(drive_client, root.id, ""),
            }
        )
    )


asyncio.run(main(sys.argv[1]))
